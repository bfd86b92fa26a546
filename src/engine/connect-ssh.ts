import { Agent } from 'node:http';
import type { Duplex } from 'node:stream';
import type { ConnectConfig } from 'ssh2';
import { isVolbakError, type VolbakError } from '../core/errors.ts';
import { readKnownHosts, refuseHostKey } from '../core/host-key.ts';
import { hostKeyAlgorithms, type KnownHostEntry } from '../core/known-hosts.ts';
import { type Logins, loginMethods } from '../core/ssh-login.ts';
import { IDLE_MS, NoRoom, SshLink } from './connect-ssh-link.ts';
import { sshError } from './connect-ssh-socket.ts';
import type { SshEndpoint } from './endpoint.ts';

type Ssh2 = typeof import('ssh2');
type Done = (error: Error | null, socket?: Duplex) => void;

const KEEPALIVE_MS = 15_000;

/**
 * An HTTP agent whose connections are `docker system dial-stdio` over ssh, channels of as few ssh connections as can be: to
 * log in anew for each request takes longer than most requests.
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
  private links: SshLink[] = [];
  private readonly idle = new WeakMap<Duplex, NodeJS.Timeout>();

  constructor(ssh2: Ssh2, endpoint: SshEndpoint, known: KnownHostEntry[], logins: Logins, timeoutMs: number) {
    // A command that runs already serves the next request, too: to start one takes longer than most requests.
    super({ keepAlive: true, maxFreeSockets: 2 });
    this.ssh2 = ssh2;
    this.endpoint = endpoint;
    this.knownHosts = known;
    this.logins = logins;
    this.timeoutMs = timeoutMs;
  }

  /** Called by node:http for each request; the answer goes to `done`. */
  override createConnection(_options: unknown, done: Done): undefined {
    this.dial().then(
      (socket) => done(null, socket),
      (error: Error) => done(error),
    );
    return undefined;
  }

  /** Called by node:http when a request has ended well: whether its socket is kept for the next one. */
  override keepSocketAlive(socket: Duplex): boolean {
    this.idle.set(socket, setTimeout(() => socket.destroy(), IDLE_MS).unref());
    return true;
  }

  /** Called by node:http before a kept socket gets the next request. */
  override reuseSocket(socket: Duplex): void {
    clearTimeout(this.idle.get(socket));
    this.idle.delete(socket);
  }

  /** A channel of a connection that has room, or of a new one. */
  private async dial(): Promise<Duplex> {
    for (;;) {
      this.links = this.links.filter((link) => !link.isOver);
      const link = this.links.find(({ isFree }) => isFree) ?? this.connect();
      try {
        return await link.open();
      } catch (error) {
        if (!(error instanceof NoRoom)) throw error;
      }
    }
  }

  private connect(): SshLink {
    let refusal: VolbakError | undefined;
    const verify = (key: Buffer) => {
      const refused = refuseHostKey(this.knownHosts, this.endpoint, key);
      refusal = refused && this.unreachable(refused.what, refused.hint);
      return refusal === undefined;
    };
    const link = new SshLink({
      endpoint: this.endpoint,
      client: new this.ssh2.Client(),
      config: this.config(verify),
      explain: (error) => refusal ?? this.explain(error),
    });
    this.links.push(link);
    return link;
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
