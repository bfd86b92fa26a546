import { execFile, spawn } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { createServer as createTlsServer } from 'node:tls';
import { promisify } from 'node:util';
import { afterwards, tempDir } from '../../support/temp.ts';

const run = promisify(execFile);

/** The path of a unix:// URL. */
function socketOf(url: string): string {
  return url.replace('unix://', '');
}

async function listen(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()));
  return (server.address() as AddressInfo).port;
}

/** Hands every connection on to `target`; `cut` breaks all that are open. */
export interface Proxy {
  port: number;
  cut: () => void;
  /** Connections so far. */
  count: () => number;
}

async function proxy(server: Server, event: string, target: () => Socket): Promise<Proxy> {
  const open = new Set<Socket>();
  let count = 0;
  server.on(event, (client: Socket) => {
    count++;
    const upstream = target();
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      open.add(from);
      from.on('error', () => to.destroy());
      from.on('close', () => {
        open.delete(from);
        to.destroySoon();
      });
      from.pipe(to);
    }
  });
  const port = await listen(server);
  const cut = () => {
    for (const socket of open) socket.destroy();
  };
  afterwards(async () => {
    cut();
    server.close();
  });
  return { port, cut, count: () => count };
}

/** A TCP port in front of another. */
export function tcpProxy(target: number): Promise<Proxy> {
  return proxy(createServer(), 'connection', () => connect(target, '127.0.0.1'));
}

/** A plain TCP port in front of an engine's unix socket. */
export function plainEngine(url: string): Promise<Proxy> {
  return proxy(createServer(), 'connection', () => connect(socketOf(url)));
}

/** A TLS port in front of an engine's unix socket that wants client certificates, as dockerd --tlsverify does. */
export function tlsEngine(url: string, certs: string): Promise<Proxy> {
  const pem = (name: string) => readFileSync(join(certs, name));
  const options = {
    ca: pem('ca.pem'),
    cert: pem('server.pem'),
    key: pem('server-key.pem'),
    requestCert: true,
    // As dockerd: the end of a container's stdin is not the end of its output.
    allowHalfOpen: true,
  };
  return proxy(createTlsServer(options), 'secureConnection', () => connect(socketOf(url)));
}

/** A directory as DOCKER_CERT_PATH wants it, with a server's certificate for 127.0.0.1 beside. */
export async function makeCertificates(): Promise<string> {
  const dir = await tempDir('volbak-certs-');
  const openssl = (...args: string[]) => run('openssl', args, { cwd: dir });
  const request = ['-newkey', 'rsa:2048', '-nodes'];
  await openssl(
    'req',
    '-x509',
    ...request,
    '-days',
    '2',
    '-subj',
    '/CN=test ca',
    '-keyout',
    'ca-key.pem',
    '-out',
    'ca.pem',
  );
  const sign = async (name: string, key: string, extension: string) => {
    writeFileSync(join(dir, `${name}.ext`), extension);
    await openssl('req', ...request, '-subj', `/CN=${name}`, '-keyout', key, '-out', `${name}.csr`);
    const ca = ['-CA', 'ca.pem', '-CAkey', 'ca-key.pem', '-CAcreateserial'];
    await openssl(
      'x509',
      '-req',
      '-in',
      `${name}.csr`,
      ...ca,
      '-days',
      '2',
      '-extfile',
      `${name}.ext`,
      '-out',
      `${name}.pem`,
    );
  };
  await sign('server', 'server-key.pem', 'subjectAltName=IP:127.0.0.1');
  await sign('cert', 'key.pem', 'extendedKeyUsage=clientAuth');
  return dir;
}

export interface SshServer {
  port: number;
  key: string;
  /** The type and the base64 of the host key. */
  hostKey: string;
  dir: string;
  /** A known_hosts file that lists the host key under a name. */
  knownHosts(name: string, hostKey?: string): string;
  makeKey(name: string): Promise<string>;
}

/**
 * A real OpenSSH server with keys of its own; what is run in it gets `env`, by default the engine's DOCKER_HOST. `more` are
 * lines of its configuration.
 */
export async function sshServer(env: Record<string, string>, more: string[] = []): Promise<SshServer> {
  const dir = await tempDir('volbak-sshd-');
  mkdirSync('/run/sshd', { recursive: true });
  const makeKey = async (name: string) => {
    await run('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', join(dir, name)]);
    return join(dir, name);
  };
  const [host, key] = [await makeKey('host'), await makeKey('id')];
  const port = await freePort();
  const config = [
    `ListenAddress 127.0.0.1:${port}`,
    `HostKey ${host}`,
    `PidFile none`,
    `AuthorizedKeysFile ${key}.pub`,
    'StrictModes no',
    'PasswordAuthentication no',
    'PermitRootLogin yes',
    'UsePAM no',
    'MaxStartups 100',
    ...more,
    `SetEnv ${Object.entries(env)
      .map(([name, value]) => `${name}=${value}`)
      .join(' ')}`,
  ];
  writeFileSync(join(dir, 'config'), `${config.join('\n')}\n`);
  const child = spawn('/usr/sbin/sshd', ['-D', '-e', '-f', join(dir, 'config')], { stdio: 'ignore' });
  afterwards(async () => child.kill());
  await answers(port);
  const hostKey = readFileSync(`${host}.pub`, 'utf8').split(' ').slice(0, 2).join(' ');
  let files = 0;
  const knownHosts = (name: string, listed = hostKey) => {
    files += 1;
    const file = join(dir, `known_hosts-${files}`);
    writeFileSync(file, `${name} ${listed}\n`);
    return file;
  };
  return { port, key, hostKey, dir, knownHosts, makeKey };
}

async function freePort(): Promise<number> {
  const server = createServer();
  const port = await listen(server);
  await new Promise((resolve) => server.close(resolve));
  return port;
}

async function answers(port: number): Promise<void> {
  for (let attempt = 0; attempt < 100; attempt += 1) {
    const open = await new Promise<boolean>((resolve) => {
      const socket = connect(port, '127.0.0.1', () => resolve(true));
      socket.on('error', () => resolve(false));
      socket.on('connect', () => socket.destroy());
    });
    if (open) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`sshd does not answer on port ${port}`);
}
