import { Duplex } from 'node:stream';
import type { ClientChannel } from 'ssh2';
import { VolbakError } from '../core/errors.ts';
import type { SshEndpoint } from './endpoint.ts';

/** What the docker CLI, too, runs on the other machine: it joins its stdin and stdout to the engine's socket. */
export const DIAL_COMMAND = 'docker system dial-stdio';

const STDERR_KEPT = 2000;

/** A channel as a socket that ends cleanly only after the command exited 0: a connection cut short is an error. */
export class DialStdio extends Duplex {
  private readonly channel: ClientChannel;
  private readonly hangUp: () => void;

  constructor(channel: ClientChannel, endpoint: SshEndpoint, hangUp: () => void) {
    super();
    this.channel = channel;
    this.hangUp = hangUp;
    let stderr = '';
    let exited = false;
    channel.on('data', (chunk: Buffer) => {
      if (!this.push(chunk)) channel.pause();
    });
    channel.stderr.on('data', (chunk: Buffer) => {
      stderr = (stderr + chunk.toString()).slice(-STDERR_KEPT);
    });
    channel.on('error', (error: Error) => this.destroy(error));
    channel.on('exit', (code: number | null, signal?: string) => {
      exited = code === 0;
      if (!exited) stderr ||= signal ? `killed by ${signal}` : `exit code ${code}`;
    });
    channel.on('close', () => {
      if (exited) this.push(null);
      else this.destroy(dialError(endpoint, stderr.trim()));
    });
  }

  override _read(): void {
    this.channel.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    if (this.channel.writable) this.channel.write(chunk, done);
    else done(); // the command is gone: its exit says why
  }

  override _final(done: (error?: Error | null) => void): void {
    if (this.channel.writable) this.channel.end();
    done();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.channel.destroy();
    this.hangUp();
    done(error);
  }

  // What node:http and dockerode call on a net.Socket.
  setTimeout(): this {
    return this;
  }
  setNoDelay(): this {
    return this;
  }
  setKeepAlive(): this {
    return this;
  }
  ref(): this {
    return this;
  }
  unref(): this {
    return this;
  }
  destroySoon(): void {
    this.end(() => this.destroy());
  }
}

/** An error of the ssh server or of what runs behind it, named by its endpoint. */
export function sshError(endpoint: SshEndpoint, what: string, hint?: string, cause?: unknown): VolbakError {
  const details = { ...(hint && { hint }), ...(cause !== undefined && { cause }) };
  return new VolbakError('ENGINE_UNREACHABLE', `The ssh server of ${endpoint.label} ${what}.`, details);
}

function dialError(endpoint: SshEndpoint, said: string): VolbakError {
  if (said === '') return sshError(endpoint, 'closed the ssh connection before the data was complete');
  const noEngine = /cannot connect|permission denied|dial unix/i.test(said);
  const last = said.split('\n').at(-1)?.trim(); // the lines before it are those of a login script
  return sshError(
    endpoint,
    `lets us in, but "${DIAL_COMMAND}" failed there: ${last?.replace(/\.+$/, '')}`,
    noEngine
      ? `Make sure that the engine runs there and that ${endpoint.user} may use it (group docker).`
      : `Install the docker CLI there and make sure that it is on the PATH of user ${endpoint.user}.`,
  );
}
