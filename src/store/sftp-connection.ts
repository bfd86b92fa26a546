import { appendFile, mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Client, ConnectConfig, SFTPWrapper } from 'ssh2';
import { isVolbakError, messageOf, VolbakError } from '../core/errors.ts';
import { readKnownHosts, refuseHostKey } from '../core/host-key.ts';
import { hostKeyAlgorithms, hostKeyName, type KnownHostEntry, keyTypeOf } from '../core/known-hosts.ts';
import { loginMethods } from '../core/ssh-login.ts';
import type { SftpOptions } from './sftp-options.ts';

const CONNECT_TIMEOUT_MS = 15_000;
const KEEPALIVE_MS = 15_000;

/** An SSH connection with an SFTP channel; gone once `closed` resolves. */
export interface SftpConnection {
  sftp: SFTPWrapper;
  closed: Promise<void>;
  end(): void;
}

/** Decides about a host's key; what is refused is kept to be raised when ssh2 reports its own error. */
class HostKeyCheck {
  readonly #options: SftpOptions;
  readonly #entries: readonly KnownHostEntry[];
  refusal: VolbakError | undefined;
  /** A key seen for the first time and accepted. */
  accepted: Buffer | undefined;

  constructor(options: SftpOptions, entries: readonly KnownHostEntry[]) {
    this.#options = options;
    this.#entries = entries;
  }

  readonly verify = (key: Buffer): boolean => {
    const refused = refuseHostKey(this.#entries, this.#options, key);
    if (!refused) return true;
    const { host, acceptNew } = this.#options;
    if (refused.verdict === 'unknown' && acceptNew) {
      this.accepted = key;
      return true;
    }
    const also = refused.verdict === 'unknown' ? ', or say ?accept-new=true in the URL' : '';
    const hint = refused.hint === undefined ? {} : { hint: `${refused.hint}${also}` };
    this.refusal = new VolbakError('STORE_DENIED', `${host} ${refused.what}`, hint);
    return false;
  };
}

async function remember(options: SftpOptions, key: Buffer): Promise<void> {
  const [file] = options.knownHostsFiles;
  if (file === undefined) return;
  await mkdir(dirname(file), { recursive: true, mode: 0o700 });
  await appendFile(
    file,
    `${hostKeyName(options.host, options.port)} ${keyTypeOf(key)} ${key.toString('base64')}\n`,
  );
}

/** Connects and opens SFTP. Raises STORE_DENIED or STORE_UNREACHABLE. */
export async function connectSftp(options: SftpOptions): Promise<SftpConnection> {
  const ssh2 = (await import('ssh2')).default;
  const entries = await readKnownHosts(options.knownHostsFiles);
  const logins = await loginMethods(ssh2, options).catch((error: unknown) => {
    throw isVolbakError(error)
      ? new VolbakError('STORE_DENIED', error.message, {
          ...(error.hint ? { hint: error.hint } : {}),
          cause: error,
        })
      : error;
  });
  const { user: username, password } = options;
  if (password !== undefined) logins.methods.push({ type: 'password', username, password });
  const check = new HostKeyCheck(options, entries);
  const client = new ssh2.Client();
  const config: ConnectConfig = {
    host: options.host,
    port: options.port,
    username,
    hostVerifier: check.verify,
    readyTimeout: CONNECT_TIMEOUT_MS,
    keepaliveInterval: KEEPALIVE_MS,
    keepaliveCountMax: 4,
    authHandler: [...logins.methods],
    algorithms: {
      serverHostKey: hostKeyAlgorithms(entries, options.host, options.port),
    } as ConnectConfig['algorithms'],
  };
  try {
    await ready(client, config);
    // Small requests must not wait for the acknowledgement of the one before: 40 ms each.
    client.setNoDelay(true);
    const sftp = await openSftp(client);
    if (check.accepted) await remember(options, check.accepted);
    const closed = new Promise<void>((resolve) => {
      client.once('close', () => resolve());
      sftp.once('close', () => resolve());
    });
    client.on('error', () => {});
    return { sftp, closed, end: () => client.end() };
  } catch (error) {
    client.on('error', () => {});
    client.destroy();
    throw check.refusal ?? explain(error as Error & { level?: string; code?: string }, options, logins.tried);
  }
}

function ready(client: Client, config: ConnectConfig): Promise<void> {
  return new Promise((resolve, reject) => {
    client.once('ready', resolve);
    client.once('error', reject);
    client.once('close', () => reject(new Error('the connection was closed')));
    client.connect(config);
  });
}

function openSftp(client: Client): Promise<SFTPWrapper> {
  return new Promise((resolve, reject) => {
    client.sftp((error, sftp) => (error ? reject(error) : resolve(sftp)));
  });
}

function explain(
  error: Error & { level?: string; code?: string },
  options: SftpOptions,
  tried: readonly string[],
): VolbakError {
  const where = `${options.user}@${options.host}:${options.port}`;
  if (error.level === 'client-authentication') {
    return new VolbakError('STORE_DENIED', `${where} does not let us in`, {
      cause: error,
      hint: `Tried ${tried.join(', ') || 'no key: there is none'}. Name a key with ?key=, use an agent, or VOLBAK_SFTP_PASSWORD.`,
    });
  }
  return new VolbakError('STORE_UNREACHABLE', `${where} cannot be reached: ${messageOf(error)}`, {
    cause: error,
    retryable: true,
  });
}
