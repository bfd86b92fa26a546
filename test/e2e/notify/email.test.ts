import { execFile, spawn } from 'node:child_process';
import { mkdir, readdir, readFile } from 'node:fs/promises';
import { connect } from 'node:net';
import path from 'node:path';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, it } from 'vitest';
import { notify } from '../../../src/notify/notify.ts';
import type { News } from '../../../src/notify/types.ts';
import { afterwards, tempDir } from '../../support/temp.ts';

const PORT = 19025;
const never = new AbortController().signal;

beforeAll(async () => {
  const packages = path.join(import.meta.dirname, '../../support/packages.sh');
  await promisify(execFile)(packages, ['/usr/bin/aiosmtpd=python3-aiosmtpd']);
});

function answers(): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(PORT, '127.0.0.1');
    socket.once('data', () => resolve(socket.destroy() !== undefined));
    socket.once('error', () => resolve(false));
  });
}

/** A real SMTP server without TLS, which keeps mails in a Maildir. */
async function smtp(): Promise<() => Promise<string[]>> {
  const dir = path.join(await tempDir(), 'mail');
  await mkdir(dir);
  const child = spawn(
    '/usr/bin/python3',
    [
      '-m',
      'aiosmtpd',
      '-n',
      '-u',
      '-l',
      `127.0.0.1:${PORT}`,
      '-c',
      'aiosmtpd.handlers.Mailbox',
      path.join(dir, 'box'),
    ],
    { stdio: 'ignore' },
  );
  const ended = new Promise((resolve) => child.once('close', resolve));
  afterwards(async () => {
    child.kill('SIGKILL');
    await ended;
  });
  for (let i = 0; i < 100 && !(await answers()); i++)
    await new Promise((resolve) => setTimeout(resolve, 100));
  return async () => {
    const box = path.join(dir, 'box/new');
    const names = await readdir(box).catch(() => []);
    return Promise.all(names.map((name) => readFile(path.join(box, name), 'utf8')));
  };
}

const NEWS: News = {
  event: 'failure',
  job: 'nightly',
  machine: 'host',
  title: 'volbak on host: nightly failed',
  text: 'There is no such container.',
  at: new Date(),
};

describe('mail', () => {
  it('comes through a real SMTP server; a password is not sent where there is no TLS', async () => {
    const mails = await smtp();
    const failures: string[] = [];
    const channel = {
      kind: 'email' as const,
      server: `smtp://127.0.0.1:${PORT}`,
      from: 'volbak@example.org',
      to: ['a@example.org', 'b@example.org'],
    };
    await notify(channel, NEWS, never, (message) => failures.push(message), []);
    expect(failures).toEqual([]);
    const [mail = ''] = await mails();
    expect(mail).toMatch(/^Subject: volbak on host: nightly failed$/m);
    expect(mail).toMatch(/^To: a@example.org, b@example.org$/m);
    expect(mail).toContain('There is no such container.');
    await notify(
      { ...channel, user: 'u', password: 'hunter2' },
      NEWS,
      never,
      (message) => failures.push(message),
      [],
    );
    expect(failures).toHaveLength(1);
    expect(failures.join()).not.toContain('hunter2');
    expect(await mails()).toHaveLength(1);
  });
});
