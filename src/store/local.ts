import { randomBytes } from 'node:crypto';
import { constants, type Dirent } from 'node:fs';
import { type FileHandle, link, mkdir, open, readdir, rename, rmdir, stat, unlink } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { type ErrorCode, VolbakError } from '../core/errors.ts';
import { assertKey } from './keys.ts';
import type { GetOptions, PutOptions, Store, StoredObject } from './store.ts';

const TEMPORARY = '.tmp-';
/** How often a put makes its directory anew. */
const MOST_TRIES = 10;

/** A store in a directory: temporary file, fsync, rename, fsync of the directory. */
export class LocalStore implements Store {
  readonly label: string;
  readonly #root: string;
  readonly #madeDirectories = new Set<string>();
  readonly #created = new Set<string>();

  constructor(directory: string) {
    this.#root = resolve(directory);
    this.label = this.#root;
  }

  async put(key: string, bytes: Uint8Array, options: PutOptions = {}): Promise<void> {
    options.signal?.throwIfAborted();
    const path = this.#path(key);
    const temporary = join(dirname(path), TEMPORARY + randomBytes(8).toString('hex'));
    try {
      await this.#writeTemporary(temporary, bytes, options.signal);
      await (options.ifAbsent ? link(temporary, path) : rename(temporary, path));
      await syncDirectory(dirname(path));
    } catch (error) {
      throw this.#translate(error, 'write', key);
    } finally {
      await unlink(temporary).catch(() => {});
    }
  }

  /** Deletes elsewhere take directories away that are empty for a moment: then they are made again. */
  async #writeTemporary(path: string, bytes: Uint8Array, signal: AbortSignal | undefined): Promise<void> {
    for (let tries = 1; ; tries++) {
      try {
        await this.#makeDirectory(dirname(path));
        return await writeDurably(path, bytes, signal);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || tries === MOST_TRIES) throw error;
        this.#madeDirectories.clear();
      }
    }
  }

  async get(key: string, options: GetOptions = {}): Promise<Buffer> {
    options.signal?.throwIfAborted();
    let file: FileHandle | undefined;
    try {
      file = await open(this.#path(key), constants.O_RDONLY);
      const { offset, length } = options.range ?? { offset: 0, length: (await file.stat()).size };
      const buffer = Buffer.allocUnsafeSlow(length);
      let done = 0;
      while (done < length) {
        options.signal?.throwIfAborted();
        const { bytesRead } = await file.read(buffer, done, length - done, offset + done);
        if (bytesRead === 0) {
          throw new VolbakError('INTEGRITY', `${key} in ${this.label} is shorter than it should be`);
        }
        done += bytesRead;
      }
      return buffer;
    } catch (error) {
      throw this.#translate(error, 'read', key);
    } finally {
      await file?.close();
    }
  }

  async stat(key: string, options: { signal?: AbortSignal } = {}): Promise<StoredObject> {
    options.signal?.throwIfAborted();
    try {
      const found = await stat(this.#path(key));
      if (found.isDirectory()) throw Object.assign(new Error('a directory'), { code: 'ENOENT' });
      return { key, size: found.size, modified: found.mtime };
    } catch (error) {
      throw this.#translate(error, 'read', key);
    }
  }

  async *list(prefix: string, options: { signal?: AbortSignal } = {}): AsyncIterable<StoredObject> {
    const slash = prefix.lastIndexOf('/');
    const directory = slash < 0 ? '' : prefix.slice(0, slash);
    yield* this.#walk(directory, prefix, options.signal);
  }

  async *#walk(directory: string, prefix: string, signal?: AbortSignal): AsyncIterable<StoredObject> {
    let entries: Dirent[];
    try {
      entries = await readdir(join(this.#root, directory), { withFileTypes: true });
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'ENOENT') return;
      // An object is no directory, and nothing lies below it; a root that is a file is an error.
      if (code === 'ENOTDIR' && (await stat(this.#root).catch(() => undefined))?.isDirectory()) return;
      throw this.#translate(error, 'list', directory);
    }
    for (const entry of entries) {
      signal?.throwIfAborted();
      const key = directory === '' ? entry.name : `${directory}/${entry.name}`;
      if (entry.isDirectory()) {
        if (key.startsWith(prefix) || prefix.startsWith(`${key}/`)) yield* this.#walk(key, prefix, signal);
      } else if (key.startsWith(prefix) && !entry.name.startsWith(TEMPORARY)) {
        yield* this.#statIfThere(key);
      }
    }
  }

  /** An object may be deleted between the listing of its directory and this look. */
  async *#statIfThere(key: string): AsyncIterable<StoredObject> {
    try {
      const { size, mtime } = await stat(join(this.#root, key));
      yield { key, size, modified: mtime };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw this.#translate(error, 'list', key);
    }
  }

  async delete(key: string, options: { signal?: AbortSignal } = {}): Promise<void> {
    options.signal?.throwIfAborted();
    try {
      await unlink(this.#path(key));
      await syncDirectory(dirname(this.#path(key)));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw this.#translate(error, 'delete', key);
    }
    await this.#removeIfEmpty(dirname(this.#path(key)));
  }

  /** Each session has a directory of its own: empty ones would pile up. */
  async #removeIfEmpty(directory: string): Promise<void> {
    // The place itself goes too where this run made it: a look at a mistyped path must not leave it behind.
    for (let d = directory; d !== this.#root || this.#created.has(d); d = dirname(d)) {
      this.#madeDirectories.delete(d);
      const removed = await rmdir(d).then(
        () => true,
        () => false,
      );
      if (!removed) return;
    }
  }

  async close(): Promise<void> {}

  #path(key: string): string {
    assertKey(key);
    return join(this.#root, key);
  }

  /** Like `mkdir -p`, durably; Node's own says ENOENT for a read-only place and EEXIST for a file. `again`: the parent is there; who still says ENOENT then (procfs) means no. */
  async #makeDirectory(directory: string, again = false): Promise<void> {
    if (this.#madeDirectories.has(directory)) return;
    try {
      await mkdir(directory, { mode: 0o700 });
      this.#created.add(directory);
      await syncDirectory(dirname(directory));
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'ENOENT' && !again) {
        await this.#makeDirectory(dirname(directory));
        return this.#makeDirectory(directory, true);
      }
      if (code !== 'EEXIST') throw error;
      // ENOTDIR where it is none.
      if (!(await stat(directory)).isDirectory())
        throw Object.assign(new Error('not a directory'), { code: 'ENOTDIR' });
    }
    this.#madeDirectories.add(directory);
  }

  #translate(error: unknown, verb: string, key: string): unknown {
    const code = (error as NodeJS.ErrnoException).code;
    // What a signal carries has no code, or a DOMException's number.
    if (error instanceof VolbakError || typeof code !== 'string') return error;
    this.#madeDirectories.clear();
    const [kind, why, hint] = CAUSES[code] ?? ['STORE_UNREACHABLE', (error as Error).message, undefined];
    return new VolbakError(kind, `cannot ${verb} ${key} in ${this.label}: ${why}`, {
      cause: error,
      ...(hint === undefined ? {} : { hint }),
    });
  }
}

const CAUSES: Record<string, [ErrorCode, string, string | undefined]> = {
  ENOENT: ['STORE_NOT_FOUND', 'it is not there', undefined],
  EISDIR: ['STORE_NOT_FOUND', 'a directory is there', undefined],
  ENOTDIR: ['STORE_DENIED', 'a file is in the way of a directory', 'Name a directory as the repository.'],
  EEXIST: ['STORE_EXISTS', 'it exists already', undefined],
  EACCES: [
    'STORE_DENIED',
    'permission denied',
    'Run as a user who may write there, or choose another place.',
  ],
  EPERM: [
    'STORE_DENIED',
    'operation not permitted',
    'Run as a user who may write there, or choose another place.',
  ],
  EROFS: ['STORE_DENIED', 'the file system is read-only', 'Mount it writable, or choose another place.'],
  ENOSPC: ['STORE_FULL', 'no space left', 'Make room; nothing of the earlier snapshots is lost.'],
  EDQUOT: ['STORE_FULL', 'the disk quota is used up', 'Make room; nothing of the earlier snapshots is lost.'],
};

async function writeDurably(path: string, bytes: Uint8Array, signal?: AbortSignal): Promise<void> {
  const file = await open(path, 'wx', 0o600);
  try {
    let done = 0;
    while (done < bytes.length) {
      signal?.throwIfAborted();
      done += (await file.write(bytes, done, Math.min(bytes.length - done, 4 * 1024 * 1024))).bytesWritten;
    }
    await file.sync();
  } finally {
    await file.close();
  }
}

async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory, constants.O_RDONLY);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
