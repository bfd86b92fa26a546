import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import type Dockerode from 'dockerode';
import { beforeAll, describe, expect, it } from 'vitest';
import { connect } from '../../../src/engine/connect.ts';
import { resolveEndpoint } from '../../../src/engine/endpoint.ts';
import { docker, engines } from '../../support/engine.ts';
import { afterwards, uniqueName } from '../../support/temp.ts';
import { type SshServer, sshServer, tcpProxy } from './servers.ts';

let server: SshServer;
let host: string;

beforeAll(async () => {
  server = await sshServer({ DOCKER_HOST: engines().a });
  host = `ssh://root@127.0.0.1:${server.port}`;
});

function open(
  query: Record<string, string>,
  env: NodeJS.ProcessEnv = {},
  at = host,
  homeDir = '/nonexistent',
) {
  const url = `${at}?${new URLSearchParams(query)}`;
  return connect(resolveEndpoint({ host: url, env, homeDir }), { timeoutMs: 10_000 });
}

function known(): string {
  return server.knownHosts(`[127.0.0.1]:${server.port}`);
}

const unreachable = (message: RegExp, hint = /./) => ({
  code: 'ENGINE_UNREACHABLE',
  message: expect.stringMatching(message),
  hint: expect.stringMatching(hint),
});

/** Attaches to a new container, as the attach lane does, and starts it. */
async function attach(client: Dockerode, script: string): Promise<{ stream: Duplex; id: string }> {
  const container = await client.createContainer({
    name: uniqueName('volbak-ssh'),
    Image: 'toolbox',
    Cmd: ['sh', '-c', script],
    OpenStdin: true,
    StdinOnce: true,
    AttachStdin: true,
    HostConfig: { NetworkMode: 'none' },
  });
  afterwards(() => docker(engines().a, 'rm', '-f', '-v', container.id));
  const stream = await new Promise<Duplex>((resolve, reject) => {
    client.modem.dial(
      {
        path: `/containers/${container.id}/attach?stream=1&stdin=1&stdout=1&stderr=1&`,
        method: 'POST',
        file: Buffer.alloc(0),
        hijack: true,
        isStream: true,
        statusCodes: { 101: true, 200: true },
      } as never,
      (error: Error | null, answer: unknown) => (error ? reject(error) : resolve(answer as Duplex)),
    );
  });
  await container.start();
  return { stream, id: container.id };
}

describe('ssh://', () => {
  it('connects with a key and a known host', async () => {
    const { info, docker: client } = await open({ key: server.key, 'known-hosts': known() });
    expect(info).toMatchObject({ id: await docker(engines().a, 'info', '-f', '{{.ID}}'), isLocal: false });
    expect(await client.listContainers({ all: true })).toBeInstanceOf(Array);
  });

  it('finds default keys and known_hosts in the home directory, past a dead agent', async () => {
    const home = mkdtempSync(join(tmpdir(), 'volbak-home-'));
    afterwards(async () => rmSync(home, { recursive: true }));
    mkdirSync(join(home, '.ssh'));
    const { copyFileSync } = await import('node:fs');
    copyFileSync(server.key, join(home, '.ssh', 'id_ed25519'));
    copyFileSync(known(), join(home, '.ssh', 'known_hosts'));
    writeFileSync(join(home, '.ssh', 'id_rsa'), 'no key at all');
    const env = { SSH_AUTH_SOCK: join(home, 'dead-agent') };
    expect((await open({}, env, host, home)).info.os).toBe('linux');
  });

  it('refuses a host whose key is not known, has changed or is revoked', async () => {
    const key = server.key;
    const flag = new RegExp(`ssh -p ${server.port} root@127.0.0.1.*ssh-keyscan -p ${server.port}`);
    const empty = server.knownHosts('other.example');
    await expect(open({ key, 'known-hosts': empty })).rejects.toMatchObject(
      unreachable(/host key \(ssh-ed25519 SHA256:.*known_hosts does not list/, flag),
    );
    const { readFileSync } = await import('node:fs');
    const other = readFileSync(`${await server.makeKey('other-host')}.pub`, 'utf8')
      .split(' ')
      .slice(0, 2)
      .join(' ');
    const changed = server.knownHosts(`[127.0.0.1]:${server.port}`, other);
    await expect(open({ key, 'known-hosts': changed })).rejects.toMatchObject(
      unreachable(/another host key/, /ssh-keygen -R/),
    );
    const revoked = server.knownHosts('@revoked *');
    await expect(open({ key, 'known-hosts': revoked })).rejects.toMatchObject({
      code: 'ENGINE_UNREACHABLE',
      message: expect.stringMatching(/marks as revoked/),
    });
  });

  it('says which logins were tried', async () => {
    const key = await server.makeKey('stranger');
    await expect(open({ key, 'known-hosts': known() })).rejects.toMatchObject(
      unreachable(/accepts no login of user root \(tried: .*stranger\)/),
    );
    await expect(open({ 'known-hosts': known() })).rejects.toMatchObject(unreachable(/no key was found/));
    const missing = join(server.dir, 'missing');
    await expect(open({ key: missing, 'known-hosts': known() })).rejects.toMatchObject({ code: 'CONFIG' });
  });

  it('says what went wrong behind the login', async () => {
    const noEngine = await sshServer({ DOCKER_HOST: 'unix:///nonexistent.sock' });
    const files = (s: SshServer) => ({ key: s.key, 'known-hosts': s.knownHosts(`[127.0.0.1]:${s.port}`) });
    await expect(open(files(noEngine), {}, `ssh://root@127.0.0.1:${noEngine.port}`)).rejects.toMatchObject(
      unreachable(
        /lets us in, but "docker system dial-stdio" failed there: .*nonexistent\.sock/,
        /engine runs there/,
      ),
    );
    const noDocker = await sshServer({ PATH: '/nonexistent' });
    await expect(open(files(noDocker), {}, `ssh://root@127.0.0.1:${noDocker.port}`)).rejects.toMatchObject(
      unreachable(/lets us in, but .*docker.*not found/, /Install the docker CLI there/),
    );
    await expect(open({}, {}, 'ssh://root@127.0.0.1:1')).rejects.toMatchObject(
      unreachable(/connection refused/),
    );
  });

  it.each([
    [[], 2],
    [['MaxSessions 2'], 6],
  ])(
    'logs in once for many requests, and again where the server has room for no more: %j',
    async (more, most) => {
      const limited = await sshServer({ DOCKER_HOST: engines().a }, more);
      const proxy = await tcpProxy(limited.port);
      const files = { key: limited.key, 'known-hosts': limited.knownHosts(`[127.0.0.1]:${proxy.port}`) };
      const { docker: client } = await open(files, {}, `ssh://root@127.0.0.1:${proxy.port}`);
      for (let n = 0; n < 5; n++) await client.ping();
      expect(proxy.count()).toBe(1);
      const answers = await Promise.all(
        Array.from({ length: 12 }, () => client.listContainers({ all: true })),
      );
      for (const answer of answers) expect(answer).toBeInstanceOf(Array);
      expect(proxy.count()).toBeGreaterThan(1);
      expect(proxy.count()).toBeLessThanOrEqual(most);
    },
  );

  it('carries a container, stdin to its end and all of stdout', async () => {
    const { docker: client } = await open({ key: server.key, 'known-hosts': known() });
    const { stream } = await attach(client, 'cat');
    const sent = Buffer.alloc(8 * 1024 * 1024, 'volbak');
    stream.write(sent);
    stream.end();
    expect(demux(Buffer.concat(await stream.toArray())).equals(sent)).toBe(true);
  });

  it('takes a connection that was cut for an error, not for the end', async () => {
    const proxy = await tcpProxy(server.port);
    const files = { key: server.key, 'known-hosts': server.knownHosts(`[127.0.0.1]:${proxy.port}`) };
    const { docker: client } = await open(files, {}, `ssh://root@127.0.0.1:${proxy.port}`);
    const { stream } = await attach(client, 'cat /dev/zero');
    const ended = new Promise((resolve, reject) => {
      stream.on('end', () => resolve('a clean end'));
      stream.on('error', reject);
    });
    stream.once('data', () => proxy.cut());
    stream.resume();
    await expect(ended).rejects.toMatchObject({
      code: expect.stringMatching(/ENGINE_UNREACHABLE|ECONNRESET/),
    });
  });
});

/** The stdout inside Docker's multiplexed stream. */
function demux(bytes: Buffer): Buffer {
  const parts: Buffer[] = [];
  for (let at = 0; at < bytes.length; ) {
    const size = bytes.readUInt32BE(at + 4);
    parts.push(bytes.subarray(at + 8, at + 8 + size));
    at += 8 + size;
  }
  return Buffer.concat(parts);
}
