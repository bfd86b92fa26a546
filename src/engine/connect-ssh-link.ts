import type { Client, ConnectConfig } from 'ssh2';
import type { VolbakError } from '../core/errors.ts';
import { DIAL_COMMAND, DialStdio, sshError } from './connect-ssh-socket.ts';
import type { SshEndpoint } from './endpoint.ts';

/** Channels of one connection at a time: sshd allows ten unless told (MaxSessions). */
const MAX_CHANNELS = 8;
/** What nothing uses is closed after that. */
export const IDLE_MS = 3000;

/** The connection has no room for another channel: the server allows fewer than we thought. */
export class NoRoom extends Error {}

export interface SshLinkOptions {
  endpoint: SshEndpoint;
  client: Client;
  config: ConnectConfig;
  /** What an error of the connection means. */
  explain(error: Error): Error;
}

/** One ssh connection; each request is a channel of it in which `docker system dial-stdio` runs. */
export class SshLink {
  readonly #endpoint: SshEndpoint;
  readonly #client: Client;
  readonly #ready: Promise<void>;
  readonly #sockets = new Set<DialStdio>();
  #users = 0;
  #most = MAX_CHANNELS;
  #over = false;
  #idle: NodeJS.Timeout | undefined;
  #break: (error: Error) => void = () => {};
  /** Rejects when the connection is no more. */
  readonly #broken: Promise<never>;

  constructor({ endpoint, client, config, explain }: SshLinkOptions) {
    this.#endpoint = endpoint;
    this.#client = client;
    this.#broken = new Promise((_, reject) => {
      this.#break = reject;
    });
    this.#broken.catch(() => {});
    // Small requests must not wait for the acknowledgement of the one before: 40 ms each.
    client.on('connect', () => client.setNoDelay(true));
    client.on('error', (error: Error & { level?: string }) => {
      // A dead agent is not the end: the next login method follows.
      if (error.level !== 'agent') this.#fail(explain(error));
    });
    client.on('close', () => this.#fail(this.#unreachable('closed the ssh connection')));
    this.#ready = new Promise((resolve) => client.once('ready', resolve));
    try {
      client.connect(config);
    } catch (error) {
      this.#fail(explain(error as Error));
    }
  }

  /** Whether another channel may be opened. */
  get isFree(): boolean {
    return !this.#over && this.#users < this.#most;
  }

  get isOver(): boolean {
    return this.#over;
  }

  /** Runs the command in a channel of its own. Raises NoRoom, ENGINE_UNREACHABLE, and errors of the socket as they are. */
  async open(): Promise<DialStdio> {
    clearTimeout(this.#idle);
    this.#users++;
    try {
      await Promise.race([this.#ready, this.#broken]);
      return await Promise.race([this.#dial(), this.#broken]);
    } catch (error) {
      this.#release();
      throw error;
    }
  }

  #dial(): Promise<DialStdio> {
    return new Promise((resolve, reject) => {
      this.#client.exec(DIAL_COMMAND, (error, channel) => {
        if (error) return reject(this.#refused(error));
        const socket: DialStdio = new DialStdio(channel, this.#endpoint, () => {
          this.#sockets.delete(socket);
          this.#release();
        });
        this.#sockets.add(socket);
        resolve(socket);
      });
    });
  }

  /** Refused while others run: another connection may have room. */
  #refused(error: Error): Error {
    const others = this.#users - 1;
    if (others === 0 || !/open fail/i.test(error.message))
      return this.#unreachable(`refuses to run "${DIAL_COMMAND}": ${error.message}`);
    this.#most = Math.max(1, Math.min(this.#most, others));
    return new NoRoom();
  }

  #release(): void {
    this.#users--;
    if (this.#users > 0 || this.#over) return;
    this.#idle = setTimeout(() => {
      this.#over = true;
      this.#client.end();
    }, IDLE_MS).unref();
  }

  #fail(error: Error): void {
    this.#over = true;
    clearTimeout(this.#idle);
    this.#break(error);
    this.#client.end();
    for (const socket of [...this.#sockets]) socket.destroy(error);
  }

  #unreachable(what: string): VolbakError {
    return sshError(this.#endpoint, what);
  }
}
