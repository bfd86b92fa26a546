import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { notify } from '../../../src/notify/notify.ts';
import { runScript } from '../../support/run-script.ts';
import { eventually } from '../../support/scene.ts';
import { bash } from '../../support/site.ts';
import { freePort } from '../../support/store-servers.ts';
import { afterwards, tempDir } from '../../support/temp.ts';
import { finished, spawnVolbak } from '../../support/volbak.ts';

type Mode = 'implicit' | 'starttls';

interface SmtpServer {
  url: string;
  /** What came, as it came. */
  mails(): Promise<string[]>;
  /** Its own words. */
  said(): string;
}

let certificates = '';

beforeAll(async () => {
  await runScript('packages.sh', ['/usr/bin/aiosmtpd=python3-aiosmtpd', 'openssl=openssl']);
  certificates = await tempDir();
  await bash(
    `openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost \\
      -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout key.pem -out cert.pem 2>/dev/null`,
    { cwd: certificates },
  );
});

/** A real SMTP server that takes mails of its one user alone, and only over TLS. */
async function smtp(mode: Mode): Promise<SmtpServer> {
  const box = path.join(await tempDir(), 'box');
  const port = await freePort();
  const script = path.join(import.meta.dirname, 'smtp-server.py');
  const files = ['cert.pem', 'key.pem'].map((name) => path.join(certificates, name));
  const child = spawn('/usr/bin/python3', [script, String(port), box, ...files, mode], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  let said = '';
  child.stdout.on('data', (bytes: Buffer) => {
    said += bytes;
  });
  const ended = once(child, 'close');
  afterwards(async () => {
    child.kill('SIGKILL');
    await ended;
  });
  await eventually('the server listens', async () => said.includes('ready'));
  return {
    said: () => said,
    url: `${mode === 'implicit' ? 'smtps' : 'smtp'}://localhost:${port}`,
    async mails() {
      const dir = path.join(box, 'new');
      const names = await readdir(dir).catch(() => []);
      return Promise.all(names.map((name) => readFile(path.join(dir, name), 'utf8')));
    },
  };
}

/** A daemon whose only job fails at once. */
async function failingDaemon(server: string, password: string): Promise<() => Promise<string>> {
  const dir = await tempDir();
  await writeFile(path.join(dir, 'password'), `${password}\n`, { mode: 0o600 });
  await writeFile(
    path.join(dir, 'volbak.yaml'),
    `repositories: { main: { url: ${dir}/nothing } }
notifications:
  mail:
    email: { server: "${server}", from: volbak@example.org, to: [me@example.org], user: volbak, password_file: ${dir}/password }
jobs:
  check: { verify: {}, schedule: "* * * * * *", retry: { times: 0 } }
`,
  );
  const env = { NODE_EXTRA_CA_CERTS: path.join(certificates, 'cert.pem') };
  const child = await spawnVolbak(['daemon', '--log', 'json'], { env, cwd: dir });
  const end = finished(child);
  return async () => {
    child.kill('SIGTERM');
    return (await end).stdout;
  };
}

describe('mail over TLS with a password', () => {
  it.each<Mode>(['implicit', 'starttls'])(
    'comes through a real server (%s) from the daemon, and the password is in no log',
    async (mode) => {
      const { url, mails } = await smtp(mode);
      const end = await failingDaemon(url, 'hunter2');
      const [mail = ''] = await eventually('a mail came', async () => {
        const all = await mails();
        return all.length > 0 && all;
      });
      const log = await end();
      expect(mail).toMatch(/^Subject: volbak on \S+: check failed$/m);
      expect(mail).toContain('nothing');
      expect(mail + log).not.toContain('hunter2');
      expect(log).not.toMatch(/did not get through/);
    },
  );

  it('a wrong password is refused by the server; nothing is sent, and the daemon goes on', async () => {
    const { url, mails, said } = await smtp('implicit');
    const end = await failingDaemon(url, 'wrong-secret');
    await eventually('it was refused twice', async () => (said().match(/refused/g)?.length ?? 0) > 1);
    const log = await end();
    expect(said()).not.toContain('known');
    expect(log).toContain('check failed');
    expect(log).not.toContain('wrong-secret');
    expect(await mails()).toEqual([]);
  });

  it('to a server whose certificate nobody vouches for nothing is sent, and the reason is told', async () => {
    const { url, mails } = await smtp('implicit');
    const failures: string[] = [];
    const channel = { kind: 'email' as const, server: url, from: 'a@example.org', to: ['b@example.org'] };
    const news = { event: 'failure' as const, job: 'j', machine: 'm', title: 't', text: 't', at: new Date() };
    const { signal } = new AbortController();
    const secret = { user: 'volbak', password: 'hunter2' };
    await notify({ ...channel, ...secret }, news, signal, (message) => failures.push(message), []);
    expect(failures).toEqual([expect.stringMatching(/certificate/i)]);
    expect(failures.join()).not.toContain('hunter2');
    expect(await mails()).toEqual([]);
  });
});
