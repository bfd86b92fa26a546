import { randomBytes } from 'node:crypto';
import { posix } from 'node:path';
import type { SFTPWrapper, Stats } from 'ssh2';
import { isVolbakError, messageOf, VolbakError } from '../core/errors.ts';
import { assertKey } from './keys.ts';
import { connectSftp, type SftpConnection } from './sftp-connection.ts';
import { explainSftpError, STATUS, statusOf } from './sftp-errors.ts';
import {
  type Callback,
  call,
  explainFull,
  type FileSystemStats,
  isUnsupported,
  readBlocks,
  readDirectory,
  replace,
  writeFile,
} from './sftp-io.ts';
import type { SftpOptions } from './sftp-options.ts';
import type { GetOptions, PutOptions, Store, StoredObject } from './store.ts';

const TEMPORARY = '.tmp-';
/** How often a put makes its directory anew. */
const MOST_TRIES = 10;
/** A store on any host with SFTP: temporary name, fsync where offered, rename into place. */
export class SftpStore implements Store {
  readonly label: string;
  readonly #options: SftpOptions;
  readonly #root: string;
  #connection: Promise<SftpConnection> | undefined;
  readonly #made = new Set<string>();
  /** Temporary files whose connection broke before they could be removed. */
  readonly #strays = new Set<string>();

  constructor(options: SftpOptions) {
    this.#options = options;
    this.#root = options.directory;
    this.label = `sftp://${options.user}@${options.host}:${options.port}/${options.directory.replace(/^\//, '')}`;
  }

  async put(key: string, bytes: Uint8Array, options: PutOptions = {}): Promise<void> {
    const path = this.#path(key);
    const temporary = posix.join(posix.dirname(path), TEMPORARY + randomBytes(8).toString('hex'));
    const work = this.#do('write', key, options.signal, async (sftp) => {
      for (let tries = 1; ; tries++) {
        await this.#makeDirectory(sftp, posix.dirname(path));
        try {
          await writeFile(sftp, temporary, bytes, options.signal);
          if (options.ifAbsent) await this.#placeIfAbsent(sftp, temporary, path, key);
          else await replace(sftp, temporary, path);
          for (const stray of this.#strays) await this.#removeStray(sftp, stray);
          return;
        } catch (error) {
          this.#made.clear();
          // A delete elsewhere may have taken the directory away while it was empty.
          if (statusOf(error) === STATUS.NO_SUCH_FILE && tries < MOST_TRIES) continue;
          await this.#removeStray(sftp, temporary);
          const why = await this.#whyFailed(sftp, error, path, bytes.length);
          throw statusOf(why) === STATUS.FAILURE ? fullAMomentAgo(why, this.label) : why;
        }
      }
    });
    await work.catch((error: unknown) => {
      // Over a connection that broke nothing can be removed; the next put does it.
      if (isVolbakError(error) && error.retryable) this.#strays.add(temporary);
      throw error;
    });
  }

  async #removeStray(sftp: SFTPWrapper, path: string): Promise<void> {
    this.#strays.add(path);
    try {
      await call<void>((done) => sftp.unlink(path, done as never));
      this.#strays.delete(path);
    } catch (error) {
      if (statusOf(error) === STATUS.NO_SUCH_FILE) this.#strays.delete(path);
    }
  }

  async get(key: string, options: GetOptions = {}): Promise<Buffer> {
    const path = this.#path(key);
    return this.#do('read', key, options.signal, async (sftp) => {
      const handle = await this.#open(sftp, path, key);
      try {
        const stats = await call<Stats>((done) => sftp.fstat(handle, done));
        if (stats.isDirectory()) throw new VolbakError('STORE_NOT_FOUND', `${key} is not in ${this.label}`);
        const { size } = stats;
        const { offset, length } = options.range ?? { offset: 0, length: size };
        if (offset + length > size) {
          throw new VolbakError('INTEGRITY', `${key} in ${this.label} is shorter than it should be`);
        }
        return await readBlocks(sftp, handle, offset, length, options.signal);
      } finally {
        await call<void>((done) => sftp.close(handle, done as never)).catch(() => {});
      }
    });
  }

  async #open(sftp: SFTPWrapper, path: string, key: string): Promise<Buffer> {
    try {
      return await call<Buffer>((done) => sftp.open(path, 'r', done));
    } catch (error) {
      const stats = await call<Stats>((done) => sftp.stat(path, done)).catch(() => undefined);
      if (!stats?.isDirectory()) throw error;
      throw new VolbakError('STORE_NOT_FOUND', `${key} is not in ${this.label}`);
    }
  }

  async stat(key: string, options: { signal?: AbortSignal } = {}): Promise<StoredObject> {
    const path = this.#path(key);
    return this.#do('read', key, options.signal, async (sftp) => {
      const stats = await call<Stats>((done) => sftp.stat(path, done));
      if (stats.isDirectory()) throw new VolbakError('STORE_NOT_FOUND', `${key} is not in ${this.label}`);
      return { key, size: stats.size, modified: new Date(stats.mtime * 1000) };
    });
  }

  async *list(prefix: string, options: { signal?: AbortSignal } = {}): AsyncIterable<StoredObject> {
    const slash = prefix.lastIndexOf('/');
    yield* this.#walk(slash < 0 ? '' : prefix.slice(0, slash), prefix, options.signal);
  }

  async *#walk(
    directory: string,
    prefix: string,
    signal: AbortSignal | undefined,
  ): AsyncIterable<StoredObject> {
    const path = directory === '' ? this.#root : `${this.#root}/${directory}`;
    const entries = await this.#do('list', directory, signal, (sftp) => readDirectory(sftp, path));
    for (const { filename, attrs } of entries) {
      if (filename === '.' || filename === '..') continue;
      const key = directory === '' ? filename : `${directory}/${filename}`;
      if (attrs.isDirectory()) {
        if (key.startsWith(prefix) || prefix.startsWith(`${key}/`)) yield* this.#walk(key, prefix, signal);
      } else if (key.startsWith(prefix) && !filename.startsWith(TEMPORARY)) {
        yield { key, size: attrs.size, modified: new Date(attrs.mtime * 1000) };
      }
    }
  }

  async delete(key: string, options: { signal?: AbortSignal } = {}): Promise<void> {
    const path = this.#path(key);
    await this.#do('delete', key, options.signal, async (sftp) => {
      try {
        await call<void>((done) => sftp.unlink(path, done as never));
      } catch (error) {
        if (statusOf(error) !== STATUS.NO_SUCH_FILE) throw error;
      }
      // Each session has a directory of its own: empty ones would pile up. One that is in use refuses.
      const directory = posix.dirname(path);
      if (directory === this.#root) return;
      this.#made.delete(directory);
      await call<void>((done) => sftp.rmdir(directory, done as never)).catch(() => {});
    });
  }

  async close(): Promise<void> {
    const connection = await this.#connection?.catch(() => undefined);
    this.#connection = undefined;
    connection?.end();
  }

  #path(key: string): string {
    assertKey(key);
    return `${this.#root}/${key}`;
  }

  /** The connection is kept; one that broke is made anew by the next call. */
  #connect(): Promise<SftpConnection> {
    if (!this.#connection) {
      const opening = connectSftp(this.#options);
      this.#connection = opening;
      const forget = () => {
        if (this.#connection === opening) this.#connection = undefined;
      };
      opening.then(({ closed }) => closed.then(forget), forget);
    }
    return this.#connection;
  }

  async #do<T>(
    verb: string,
    key: string,
    signal: AbortSignal | undefined,
    work: (sftp: SFTPWrapper) => Promise<T>,
  ): Promise<T> {
    signal?.throwIfAborted();
    const connection = await this.#connect();
    const broken = connection.closed.then(() => {
      throw new VolbakError('STORE_UNREACHABLE', `the connection to ${this.#options.host} broke`, {
        retryable: true,
      });
    });
    broken.catch(() => {});
    try {
      return await Promise.race([work(connection.sftp), broken]);
    } catch (error) {
      signal?.throwIfAborted();
      throw explainSftpError(error, verb, key, this.label);
    }
  }

  async #makeDirectory(sftp: SFTPWrapper, directory: string): Promise<void> {
    if (this.#made.has(directory) || directory === '.' || directory === '/') return;
    for (let tries = 1; ; tries++) {
      try {
        await call<void>((done) => sftp.mkdir(directory, { mode: 0o700 }, done as never));
        break;
      } catch (error) {
        // "Failure" is what servers say of a directory that is there already, and another run may just remove it.
        const there = await call<Stats>((done) => sftp.stat(directory, done)).catch(() => undefined);
        if (there?.isDirectory()) break;
        if (there || tries === MOST_TRIES || statusOf(error) === STATUS.PERMISSION_DENIED)
          throw await this.#whyFailed(sftp, error, directory, 0);
        this.#made.delete(posix.dirname(directory));
        if (statusOf(error) === STATUS.NO_SUCH_FILE)
          await this.#makeDirectory(sftp, posix.dirname(directory));
      }
    }
    this.#made.add(directory);
  }

  /** A hard link fails where the name is taken, and so does the protocol's own rename. */
  async #placeIfAbsent(sftp: SFTPWrapper, temporary: string, path: string, key: string): Promise<void> {
    const place = (done: Callback<void>) => sftp.ext_openssh_hardlink(temporary, path, done as never);
    try {
      await call<void>(place).catch((error: unknown) => {
        if (!isUnsupported(error)) throw error;
        return call<void>((done) => sftp.rename(temporary, path, done as never));
      });
    } catch (error) {
      const taken = await call<Stats>((done) => sftp.stat(path, done)).then(
        () => true,
        () => false,
      );
      if (taken) throw new VolbakError('STORE_EXISTS', `${key} exists already in ${this.label}`);
      throw error;
    }
    await call<void>((done) => sftp.unlink(temporary, done as never)).catch(() => {});
  }

  /** "Failure" stands for no space, a read-only place and more: the file system itself tells which. */
  async #whyFailed(sftp: SFTPWrapper, error: unknown, path: string, size: number): Promise<unknown> {
    if (isVolbakError(error) || statusOf(error) !== STATUS.FAILURE) return error;
    for (let at = posix.dirname(path); ; at = posix.dirname(at)) {
      const stats = await call<FileSystemStats>((done) => sftp.ext_openssh_statvfs(at, done as never)).catch(
        () => undefined,
      );
      if (stats) return explainFull(stats, size, this.label) ?? error;
      if (at === '/' || at === '.') return error;
    }
  }
}

/** There is room now: perhaps another write took it all and has failed, too. So this one is worth another try. */
function fullAMomentAgo(cause: unknown, label: string): VolbakError {
  return new VolbakError(
    'STORE_UNREACHABLE',
    `${label} refused a write without a reason: ${messageOf(cause)}`,
    {
      retryable: true,
      cause,
    },
  );
}
