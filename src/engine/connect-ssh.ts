import { readFile } from 'node:fs/promises';
import { Agent } from 'node:http';
import type { Duplex } from 'node:stream';
import type { ConnectConfig } from 'ssh2';
import { isVolbakError, type VolbakError } from '../core/errors.ts';
import {
  checkHostKey,
  hostKeyAlgorithms,
  hostKeyFingerprint,
  hostKeyName,
  type KnownHostEntry,
  keyTypeOf,
  parseKnownHosts,
} from '../core/known-hosts.ts';
import { type Logins, loginMethods } from '../core/ssh-login.ts';
import { DIAL_COMMAND, DialStdio, sshError } from './connect-ssh-socket.ts';
import type { SshEndpoint } from './endpoint.ts';

type Ssh2 = typeof import('ssh2');
type Done = (error: Error | null, socket?: Duplex) => void;

const KEEPALIVE_MS = 15_000;

/**
 * An HTTP agent whose connections are `docker system dial-stdio` over ssh, one ssh connection a request.
 *
 * docker-modem has one of its own, but that gives up at a dead ssh agent even where key files work, brings the
 * process down where the server refuses the command, hides what the command said, and takes a connection that was
 * cut for a clean end of the data.
 */
export async function sshHttpAgent(endpoint: SshEndpoint, timeoutMs: number): Promise<Agent> {
  const ssh2 = (await import('ssh2')).default as Ssh2;
  const knownHosts = await readKnownHosts(endpoint.knownHostsFiles);
  const logins = await loginMethods(ssh2, endpoint);
  return new SshAgent(ssh2, endpoint, knownHosts, logins, timeoutMs);
}

class SshAgent extends Agent {
  private readonly ssh2: Ssh2;
  private readonly endpoint: SshEndpoint;
  private readonly knownHosts: KnownHostEntry[];
  private readonly logins: Logins;
  private readonly timeoutMs: number;

  constructor(ssh2: Ssh2, endpoint: SshEndpoint, known: KnownHostEntry[], logins: Logins, timeoutMs: number) {
    super({ keepAlive: false });
    this.ssh2 = ssh2;
    this.endpoint = endpoint;
    this.knownHosts = known;
    this.logins = logins;
    this.timeoutMs = timeoutMs;
  }

  /** Called by node:http for each request; the answer goes to `done`. */
  override createConnection(_options: unknown, done: Done): undefined {
    const client = new this.ssh2.Client();
    let socket: DialStdio | undefined;
    let refusal: VolbakError | undefined;
    let answered = false;
    const fail = (error: Error) => {
      client.end();
      socket?.destroy(error);
      if (!answered) done(error);
      answered = true;
    };
    client.on('error', (error: Error & { level?: string }) => {
      // A dead agent is not the end: the next login method follows.
      if (error.level !== 'agent') fail(refusal ?? this.explain(error));
    });
    client.on('close', () => {
      if (!answered) fail(this.unreachable('closed the ssh connection at once'));
    });
    client.on('ready', () => {
      client.exec(DIAL_COMMAND, (error, channel) => {
        if (error) return fail(this.unreachable(`refuses to run "${DIAL_COMMAND}": ${error.message}`));
        if (answered) return client.end();
        answered = true;
        socket = new DialStdio(channel, this.endpoint, () => client.end());
        done(null, socket);
      });
    });
    const verify = (key: Buffer) => {
      refusal = this.refuseHostKey(key);
      return refusal === undefined;
    };
    try {
      client.connect(this.config(verify));
    } catch (error) {
      fail(this.explain(error as Error));
    }
    return undefined;
  }

  private config(hostVerifier: (key: Buffer) => boolean): ConnectConfig {
    const { host, port, user } = this.endpoint;
    const serverHostKey = hostKeyAlgorithms(this.knownHosts, host, port);
    return {
      host,
      port,
      username: user,
      hostVerifier,
      readyTimeout: this.timeoutMs,
      keepaliveInterval: KEEPALIVE_MS,
      authHandler: [...this.logins.methods],
      algorithms: { serverHostKey } as ConnectConfig['algorithms'],
    };
  }

  private refuseHostKey(key: Buffer): VolbakError | undefined {
    const { host, port, knownHostsFiles } = this.endpoint;
    const verdict = checkHostKey(this.knownHosts, host, port, key);
    if (verdict === 'known') return undefined;
    const shown = `${keyTypeOf(key)} ${hostKeyFingerprint(key)}`;
    const name = hostKeyName(host, port);
    if (verdict === 'unknown') {
      const portFlag = port === 22 ? '' : ` -p ${port}`;
      return this.unreachable(
        `has a host key (${shown}) that known_hosts does not list`,
        `If that is its key, connect once with: ssh${portFlag} ${this.endpoint.user}@${host}. Or add it with: ssh-keyscan${portFlag} ${host} >> ${knownHostsFiles[0]}`,
      );
    }
    if (verdict === 'revoked')
      return this.unreachable(`shows a host key (${shown}) that known_hosts marks as revoked`);
    return this.unreachable(
      `shows another host key (${shown}) than known_hosts lists for ${name}: somebody may be in between`,
      `If the host was really reinstalled, remove the old key with: ssh-keygen -R '${name}' -f ${knownHostsFiles[0]}`,
    );
  }

  private explain(error: Error & { level?: string; code?: unknown }): Error {
    if (isVolbakError(error)) return error;
    if (error.level === 'client-authentication') {
      const { tried, skipped } = this.logins;
      const notes = skipped.length > 0 ? `; left out: ${skipped.join(', ')}` : '';
      return this.unreachable(
        `accepts no login of user ${this.endpoint.user} (tried: ${tried.join(', ') || 'nothing, no key was found'}${notes})`,
        'Load the right key into ssh-agent, or name it in the address: ssh://user@host?key=/path/to/key. ~/.ssh/config is not read.',
        error,
      );
    }
    if (error.level === 'client-timeout') return this.unreachable('did not answer in time', undefined, error);
    if (typeof error.code === 'string') return error; // of the socket: explained like that of any other endpoint
    return this.unreachable(`broke the ssh connection off: ${error.message}`, undefined, error);
  }

  private unreachable(what: string, hint?: string, cause?: unknown): VolbakError {
    return sshError(this.endpoint, what, hint, cause);
  }
}

async function readKnownHosts(files: string[]): Promise<KnownHostEntry[]> {
  const texts = await Promise.all(files.map((file) => readFile(file, 'utf8').catch(() => '')));
  return texts.flatMap(parseKnownHosts);
}
