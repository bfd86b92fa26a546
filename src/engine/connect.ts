import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import { inspect } from 'node:util';
import type DockerModem from 'docker-modem';
import type Dockerode from 'dockerode';
import { messageOf, VolbakError } from '../core/errors.ts';
import { explainConnectError } from './connect-errors.ts';
import { sshHttpAgent } from './connect-ssh.ts';
import type { Endpoint, TcpEndpoint } from './endpoint.ts';
import { loadDockerode } from './load-dockerode.ts';
import { findOwnContainer, type OwnContainer } from './own-container.ts';

export interface EngineInfo {
  id: string;
  name: string;
  /** The version that we speak with it, for example `1.41`. */
  apiVersion: string;
  serverVersion: string;
  os: string;
  /** As Go calls it: amd64, arm64, … */
  arch: string;
  securityOptions: string[];
  rootless: boolean;
  selinux: boolean;
  /** Reached through a unix socket: most likely it is this machine's own engine, but only a probe can tell. */
  isLocal: boolean;
  /** Set where this process runs in a container of that engine. */
  ownContainer?: OwnContainer;
}

export interface EngineConnection {
  docker: Dockerode;
  endpoint: Endpoint;
  info: EngineInfo;
}

export interface ConnectOptions {
  signal?: AbortSignal | undefined;
  /** How long the engine may take for its first answers. */
  timeoutMs?: number | undefined;
}

const DEFAULT_TIMEOUT_MS = 10_000;
const OLDEST_API = '1.40';
const NEWEST_API = '1.44';

interface VersionAnswer {
  ApiVersion?: string;
  MinAPIVersion?: string;
  Version?: string;
  Os?: string;
  Arch?: string;
}

interface InfoAnswer {
  ID?: string;
  Name?: string;
  SecurityOptions?: string[] | null;
}

/** Connects to an engine, agrees on an API version and learns who it is. */
export async function connect(endpoint: Endpoint, options: ConnectOptions = {}): Promise<EngineConnection> {
  const timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
  const deadline = AbortSignal.timeout(timeoutMs);
  const signal = options.signal ? AbortSignal.any([options.signal, deadline]) : deadline;
  options.signal?.throwIfAborted();
  try {
    const docker = await makeClient(endpoint, timeoutMs);
    const version = await getJson<VersionAnswer>(docker, '/version', signal);
    const apiVersion = negotiate(endpoint, version);
    (docker.modem as { version?: string }).version = `v${apiVersion}`;
    const info = await getJson<InfoAnswer>(docker, '/info', signal);
    const ownContainer = await findOwnContainer(docker);
    return {
      docker,
      endpoint,
      info: { ...describe(endpoint, apiVersion, version, info), ...(ownContainer && { ownContainer }) },
    };
  } catch (error) {
    options.signal?.throwIfAborted();
    throw explainConnectError(deadline.aborted ? deadline.reason : error, endpoint, timeoutMs);
  }
}

/** The API version to speak: the server's, but none newer than those that we were tested with. */
export function negotiate(endpoint: Endpoint, version: VersionAnswer): string {
  const { ApiVersion: server, MinAPIVersion: oldest } = version;
  if (!server || !/^\d+\.\d+$/.test(server)) {
    throw new VolbakError('ENGINE_UNREACHABLE', `What answers at ${endpoint.label} is not a Docker Engine.`, {
      hint: 'Check the address (--host, --context, DOCKER_HOST).',
    });
  }
  if (compareVersions(server, OLDEST_API) < 0) {
    throw new VolbakError(
      'ENGINE_UNREACHABLE',
      `The engine at ${endpoint.label} is too old: it speaks API ${server}, volbak needs ${OLDEST_API} or newer.`,
      { hint: 'Upgrade it to Docker 19.03 or newer.' },
    );
  }
  if (oldest && compareVersions(oldest, NEWEST_API) > 0) {
    throw new VolbakError(
      'ENGINE_UNREACHABLE',
      `The engine at ${endpoint.label} is too new: it speaks API ${oldest} and newer, volbak up to ${NEWEST_API}.`,
      { hint: 'Upgrade volbak, or set DOCKER_MIN_API_VERSION for the engine.' },
    );
  }
  return compareVersions(server, NEWEST_API) > 0 ? NEWEST_API : server;
}

function compareVersions(a: string, b: string): number {
  const [aMajor = 0, aMinor = 0] = a.split('.').map(Number);
  const [bMajor = 0, bMinor = 0] = b.split('.').map(Number);
  return aMajor - bMajor || aMinor - bMinor;
}

function describe(
  endpoint: Endpoint,
  apiVersion: string,
  version: VersionAnswer,
  info: InfoAnswer,
): EngineInfo {
  const securityOptions = info.SecurityOptions ?? [];
  const has = (name: string) => securityOptions.some((option) => option.split(',')[0] === `name=${name}`);
  return {
    id: info.ID ?? '',
    name: info.Name ?? '',
    apiVersion,
    serverVersion: version.Version ?? '',
    os: version.Os ?? '',
    arch: version.Arch ?? '',
    securityOptions,
    rootless: has('rootless'),
    selinux: has('selinux'),
    isLocal: endpoint.kind === 'unix',
  };
}

async function makeClient(endpoint: Endpoint, timeoutMs: number): Promise<Dockerode> {
  const Docker = await loadDockerode();
  const transport = await transportOf(endpoint, timeoutMs);
  try {
    quieten(transport.agent);
    return new Docker({ ...CLEAN_SLATE, ...transport });
  } catch (cause) {
    throw new VolbakError(
      'CONFIG',
      `The Docker settings in the environment cannot be used: ${messageOf(cause)}`,
      {
        hint: 'Correct or unset DOCKER_HOST and DOCKER_CERT_PATH.',
        cause,
      },
    );
  }
}

/** docker-modem mixes DOCKER_HOST and its kin into whatever it is not told: so it is told everything. */
const CLEAN_SLATE = {
  socketPath: undefined,
  host: undefined,
  port: undefined,
  pathPrefix: '/',
  username: undefined,
  ca: undefined,
  cert: undefined,
  key: undefined,
  timeout: undefined,
  connectionTimeout: undefined,
  headers: {},
  sshOptions: {},
};

/**
 * docker-modem writes out all that a request has, for a log that is off. An agent leads to open sockets and their requests:
 * that took some milliseconds each time.
 */
function quieten(agent: object | undefined): void {
  if (agent) Object.assign(agent, { [inspect.custom]: () => '[agent]' });
}

async function transportOf(endpoint: Endpoint, timeoutMs: number): Promise<DockerModem.ConstructorOptions> {
  switch (endpoint.kind) {
    case 'unix':
      return {
        socketPath: endpoint.socketPath,
        protocol: 'http',
        agent: new HttpAgent({ keepAlive: false }),
      };
    case 'tcp':
      return tcpTransport(endpoint);
    case 'ssh':
      // The agent makes the connections; the host is but a name in the Host header.
      return {
        host: 'http://docker',
        port: 80,
        protocol: 'http',
        agent: await sshHttpAgent(endpoint, timeoutMs),
      };
  }
}

function tcpTransport({ host, port, tls }: TcpEndpoint): DockerModem.ConstructorOptions {
  const name = host.includes(':') ? `[${host}]` : host;
  if (!tls)
    return { host: `http://${name}`, port, protocol: 'http', agent: new HttpAgent({ keepAlive: false }) };
  const { ca, cert, key, rejectUnauthorized } = tls;
  const agent = new HttpsAgent({
    keepAlive: false,
    rejectUnauthorized,
    ...(ca && { ca }),
    ...(cert && { cert }),
    ...(key && { key }),
  });
  return { host: `https://${name}`, port, protocol: 'https', agent };
}

/** GET without the version prefix of dockerode's typed calls; unlike those it can be aborted. */
function getJson<T>(docker: Dockerode, path: string, signal: AbortSignal): Promise<T> {
  const options: DockerModem.DialOptions = {
    path,
    method: 'GET',
    abortSignal: signal,
    statusCodes: { 200: true },
  };
  return new Promise<T>((resolve, reject) => {
    (docker.modem as DockerModem).dial(options, (error, answer) => {
      if (error) reject(error);
      else resolve(answer as T);
    });
  });
}
