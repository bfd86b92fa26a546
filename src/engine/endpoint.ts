import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { type ErrorCode, messageOf, VolbakError } from '../core/errors.ts';
import { currentContext, type DockerContext, dockerConfigDir, readContext } from './context.ts';

export interface TlsOptions {
  ca: string | undefined;
  cert: string | undefined;
  key: string | undefined;
  rejectUnauthorized: boolean;
}

export interface UnixEndpoint {
  kind: 'unix';
  label: string;
  socketPath: string;
}

export interface TcpEndpoint {
  kind: 'tcp';
  label: string;
  host: string;
  port: number;
  /** Absent where the engine is spoken to in plain HTTP. */
  tls: TlsOptions | undefined;
}

export interface SshEndpoint {
  kind: 'ssh';
  label: string;
  host: string;
  port: number;
  user: string;
  /** A key named on purpose: it must be readable. */
  keyFile: string | undefined;
  /** Tried where they exist. */
  defaultKeyFiles: string[];
  agentSocket: string | undefined;
  knownHostsFiles: string[];
}

/** Where an engine is and how to reach it. `label` has no secret in it. */
export type Endpoint = UnixEndpoint | TcpEndpoint | SshEndpoint;

export interface EndpointRequest {
  /** --host */
  host?: string | undefined;
  /** --context */
  context?: string | undefined;
  env: NodeJS.ProcessEnv;
  homeDir: string;
}

/** Where a host was named: decides the error code, and which TLS settings go with it. */
interface Origin {
  name: string;
  code: ErrorCode;
  context?: DockerContext;
}

const DEFAULT_HOST = 'unix:///var/run/docker.sock';
const SCHEMES = 'unix://, tcp://, http://, https:// or ssh://';

/** Finds the engine in the order of the docker CLI: flags, DOCKER_HOST, DOCKER_CONTEXT, chosen context, default socket. */
export function resolveEndpoint(request: EndpointRequest): Endpoint {
  const { host, context, env } = request;
  if (host && context) {
    throw new VolbakError('USAGE', '--host and --context cannot be used together.', {
      hint: 'A context names a host already: leave one of them out.',
    });
  }
  if (host) return parseHost(host, { name: '--host', code: 'USAGE' }, request);
  if (context) return fromContext(context, 'USAGE', request);
  if (env.DOCKER_HOST) return fromEnvironment(request);
  const chosen = env.DOCKER_CONTEXT || currentContext(dockerConfigDir(env, request.homeDir));
  return fromContext(chosen ?? 'default', 'CONFIG', request);
}

function fromContext(name: string, code: ErrorCode, request: EndpointRequest): Endpoint {
  // "default" is no stored context: it stands for DOCKER_HOST or the default socket.
  if (name === 'default') return fromEnvironment(request);
  const context = readContext(dockerConfigDir(request.env, request.homeDir), name, code);
  return parseHost(context.host, { name: `docker context "${name}"`, code: 'CONFIG', context }, request);
}

function fromEnvironment(request: EndpointRequest): Endpoint {
  return parseHost(request.env.DOCKER_HOST || DEFAULT_HOST, { name: 'DOCKER_HOST', code: 'CONFIG' }, request);
}

function parseHost(text: string, origin: Origin, request: EndpointRequest): Endpoint {
  if (text.startsWith('/')) throw bad(text, origin, 'has no scheme', `Did you mean unix://${text}?`);
  const full = text.includes('://') ? text : `tcp://${text}`;
  if (full.startsWith('unix://')) return unixEndpoint(full, origin);
  let url: URL;
  try {
    url = new URL(full);
  } catch {
    throw bad(text, origin, 'is not a valid URL', `Write it as ${SCHEMES}.`);
  }
  switch (url.protocol) {
    case 'tcp:':
    case 'http:':
    case 'https:':
      return tcpEndpoint(url, origin, request);
    case 'ssh:':
      return sshEndpoint(url, origin, request);
    case 'npipe:':
      throw bad(text, origin, 'is a Windows named pipe, which volbak does not support', `Use ${SCHEMES}.`);
    default:
      throw bad(text, origin, `has the unknown scheme "${url.protocol}//"`, `Use ${SCHEMES}.`);
  }
}

function unixEndpoint(text: string, origin: Origin): UnixEndpoint {
  const socketPath = text.slice('unix://'.length) || DEFAULT_HOST.slice('unix://'.length);
  if (!socketPath.startsWith('/')) {
    throw bad(
      text,
      origin,
      'has no absolute path',
      `Write unix:// and the whole path: unix:///${socketPath}`,
    );
  }
  return { kind: 'unix', label: `unix://${socketPath}`, socketPath };
}

function tcpEndpoint(url: URL, origin: Origin, request: EndpointRequest): TcpEndpoint {
  const host = hostOf(url, origin);
  refuseExtras(url, origin, []);
  const tls = tlsFor(url, origin, request);
  const defaults: Record<string, number> = { 'http:': 80, 'https:': 443 };
  const port = url.port ? Number(url.port) : (defaults[url.protocol] ?? (tls ? 2376 : 2375));
  return { kind: 'tcp', label: `${url.protocol}//${url.hostname}:${port}`, host, port, tls };
}

function sshEndpoint(url: URL, origin: Origin, request: EndpointRequest): SshEndpoint {
  const host = hostOf(url, origin);
  refuseExtras(url, origin, ['key', 'known-hosts']);
  const { env, homeDir } = request;
  const user = decodeURIComponent(url.username) || env.USER || env.LOGNAME || userInfo().username;
  const port = url.port ? Number(url.port) : 22;
  const knownHosts = url.searchParams.get('known-hosts');
  const dotSsh = join(homeDir, '.ssh');
  return {
    kind: 'ssh',
    label: `ssh://${user}@${url.hostname}${port === 22 ? '' : `:${port}`}`,
    host,
    port,
    user,
    keyFile: url.searchParams.get('key') ?? undefined,
    defaultKeyFiles: ['id_ed25519', 'id_rsa', 'id_ecdsa'].map((name) => join(dotSsh, name)),
    agentSocket: env.SSH_AUTH_SOCK || undefined,
    knownHostsFiles: knownHosts
      ? [knownHosts]
      : [join(dotSsh, 'known_hosts'), join(dotSsh, 'known_hosts2'), '/etc/ssh/ssh_known_hosts'],
  };
}

function hostOf(url: URL, origin: Origin): string {
  if (url.hostname === '') throw bad(printable(url), origin, 'names no host', 'Write scheme://host:port.');
  return url.hostname.replace(/^\[(.*)\]$/, '$1');
}

/** Refuses what would be ignored silently: a password, a path, unknown parameters. */
function refuseExtras(url: URL, origin: Origin, parameters: string[]): void {
  const text = printable(url);
  if (url.password)
    throw bad(text, origin, 'has a password in it', 'Use an ssh key or a client certificate.');
  if (!['', '/'].includes(url.pathname)) {
    throw bad(text, origin, `has a path ("${url.pathname}")`, 'Leave everything after host and port out.');
  }
  for (const name of url.searchParams.keys()) {
    if (parameters.includes(name)) continue;
    const known = parameters.length > 0 ? `Known are: ${parameters.join(', ')}.` : 'None is known here.';
    throw bad(text, origin, `has the unknown parameter "${name}"`, known);
  }
}

function printable(url: URL): string {
  return `${url.protocol}//${url.username ? `${url.username}@` : ''}${url.host}`;
}

function bad(text: string, origin: Origin, what: string, hint: string): VolbakError {
  const shown = text.replace(/\/\/[^@/]*:[^@/]*@/, '//***@'); // a password must not be printed
  return new VolbakError(origin.code, `The engine address ${shown} (from ${origin.name}) ${what}.`, { hint });
}

/** Which certificates go with a tcp endpoint: the context's own, or those of DOCKER_CERT_PATH as the docker CLI has it. */
function tlsFor(url: URL, origin: Origin, { env, homeDir }: EndpointRequest): TlsOptions | undefined {
  if (url.protocol === 'http:') return undefined;
  const { context } = origin;
  if (context) {
    if (context.tlsDir) return readCertificates(context.tlsDir, !context.skipTlsVerify, false);
    if (context.skipTlsVerify) return noCertificates(false);
    return url.protocol === 'https:' ? noCertificates(true) : undefined;
  }
  const verify = Boolean(env.DOCKER_TLS_VERIFY);
  if (verify || env.DOCKER_TLS) {
    return readCertificates(env.DOCKER_CERT_PATH || dockerConfigDir(env, homeDir), verify, verify);
  }
  if (url.protocol !== 'https:') return undefined;
  return env.DOCKER_CERT_PATH ? readCertificates(env.DOCKER_CERT_PATH, true, true) : noCertificates(true);
}

function noCertificates(rejectUnauthorized: boolean): TlsOptions {
  return { ca: undefined, cert: undefined, key: undefined, rejectUnauthorized };
}

function readCertificates(dir: string, rejectUnauthorized: boolean, caNeeded: boolean): TlsOptions {
  const ca = readPem(dir, 'ca.pem');
  const cert = readPem(dir, 'cert.pem');
  const key = readPem(dir, 'key.pem');
  const missing = [
    caNeeded && !ca ? 'ca.pem' : '',
    key && !cert ? 'cert.pem' : '',
    cert && !key ? 'key.pem' : '',
  ].filter(Boolean);
  if (missing.length > 0) {
    throw new VolbakError(
      'CONFIG',
      `The TLS files of the engine are incomplete: ${dir} lacks ${missing.join(', ')}.`,
      {
        hint: `${contentOf(dir)} DOCKER_CERT_PATH names the directory of ca.pem, cert.pem and key.pem.`,
      },
    );
  }
  return { ca, cert, key, rejectUnauthorized };
}

function readPem(dir: string, name: string): string | undefined {
  const file = join(dir, name);
  if (!existsSync(file)) return undefined;
  try {
    return readFileSync(file, 'utf8');
  } catch (cause) {
    throw new VolbakError('CONFIG', `The TLS file ${file} cannot be read: ${messageOf(cause)}`, { cause });
  }
}

function contentOf(dir: string): string {
  if (!existsSync(dir)) return 'That directory does not exist.';
  const names = readdirSync(dir).filter((name) => name.endsWith('.pem'));
  return names.length > 0 ? `It has ${names.join(', ')}.` : 'It has no .pem file.';
}
