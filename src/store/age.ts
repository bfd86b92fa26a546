import { open, openPrefix, seal } from '../core/age.ts';
import {
  CHUNK,
  chunkCount,
  openChunks,
  PREFIX,
  plainSize,
  STORED_CHUNK,
  storedSize,
} from '../core/age-payload.ts';
import { VolbakError } from '../core/errors.ts';
import { assertKey } from './keys.ts';
import type { GetOptions, PutOptions, Store, StoredObject } from './store.ts';
import { StoreWrapper } from './wrapper.ts';

/** What the key of an encrypted object ends in. */
const SUFFIX = '.age';
/** Keys of objects remembered at once; each is a few hundred bytes. */
const MAX_REMEMBERED = 4096;

export interface AgeOptions {
  /** The public half, `age1…`: enough to write. */
  recipient: string;
  /** The secret half, `AGE-SECRET-KEY-1…`: needed to read. */
  identity?: string;
  /** Objects that are not encrypted. */
  isPlain(key: string): boolean;
  /** Objects that are never replaced: what was found out about them once stays true. */
  isImmutable(key: string): boolean;
}

interface Opened {
  payloadKey: Buffer;
  size: number;
}

/**
 * Encrypts objects on their way to a store, each as an age file of its own under its key with `.age`. Keys and sizes are
 * seen here as if nothing were encrypted. Without the identity `get` raises WRONG_KEY, and all else works.
 */
export class AgeStore extends StoreWrapper {
  readonly #options: AgeOptions;
  readonly #opened = new Map<string, Promise<Opened>>();

  constructor(inner: Store, options: AgeOptions) {
    super(inner);
    this.#options = options;
  }

  override async put(key: string, bytes: Uint8Array, options: PutOptions = {}): Promise<void> {
    assertKey(key);
    options.signal?.throwIfAborted();
    const isPlain = this.#options.isPlain(key);
    const stored = isPlain ? bytes : await seal(bytes, this.#options.recipient);
    await this.inner.put(this.#stored(key), stored, options);
  }

  /** A range fetches the chunks of 64 KiB that it lies in; of an immutable object the header only once. */
  override async get(key: string, options: GetOptions = {}): Promise<Buffer> {
    assertKey(key);
    options.signal?.throwIfAborted();
    if (this.#options.isPlain(key)) return this.inner.get(key, options);
    const identity = this.#identity(key);
    if (options.range) return this.#getRange(key, options.range, identity, options.signal);
    const stored = await this.inner.get(this.#stored(key), options);
    return this.#intact(key, () => open(stored, identity));
  }

  /** The size is that of the plain bytes. */
  override async stat(key: string, options: { signal?: AbortSignal } = {}): Promise<StoredObject> {
    assertKey(key);
    const { size, modified } = await this.inner.stat(this.#stored(key), options);
    return { key, size: this.#options.isPlain(key) ? size : this.#plainSize(key, size), modified };
  }

  /** Objects that should be encrypted and are not are no objects of this store. Sizes are those of the plain bytes. */
  override async *list(prefix: string, options: { signal?: AbortSignal } = {}): AsyncIterable<StoredObject> {
    for await (const object of this.inner.list(prefix, options)) {
      if (this.#options.isPlain(object.key)) {
        yield object;
        continue;
      }
      const key = object.key.slice(0, -SUFFIX.length);
      if (!object.key.endsWith(SUFFIX) || !key.startsWith(prefix)) continue;
      // What is cut short is listed all the same: reading it says what is wrong.
      yield { ...object, key, size: plainSize(object.size) ?? 0 };
    }
  }

  override async delete(key: string, options: { signal?: AbortSignal } = {}): Promise<void> {
    assertKey(key);
    await this.inner.delete(this.#stored(key), options);
    this.#opened.delete(key);
  }

  #stored(key: string): string {
    return this.#options.isPlain(key) ? key : key + SUFFIX;
  }

  #identity(key: string): string {
    const { identity } = this.#options;
    if (identity !== undefined) return identity;
    throw new VolbakError('WRONG_KEY', `${key} in ${this.label} is encrypted, and no identity was given`, {
      hint: 'Name one with VOLBAK_IDENTITY_FILE, or give the passphrase with VOLBAK_PASSPHRASE_FILE.',
    });
  }

  async #getRange(
    key: string,
    { offset, length }: { offset: number; length: number },
    identity: string,
    signal: AbortSignal | undefined,
  ): Promise<Buffer> {
    const { payloadKey, size } = await this.#open(key, identity, signal);
    if (offset + length > size)
      throw new VolbakError('INTEGRITY', `${key} in ${this.label} is shorter than it should be`);
    if (length === 0) return Buffer.alloc(0);
    const first = Math.floor(offset / CHUNK);
    const last = Math.floor((offset + length - 1) / CHUNK);
    const toEnd = last === chunkCount(size) - 1;
    const from = PREFIX + first * STORED_CHUNK;
    const end = toEnd ? storedSize(size) : PREFIX + (last + 1) * STORED_CHUNK;
    const stored = await this.inner.get(this.#stored(key), {
      range: { offset: from, length: end - from },
      ...(signal ? { signal } : {}),
    });
    const plain = await this.#intact(key, async () => openChunks(payloadKey, stored, first, toEnd));
    return plain.subarray(offset - first * CHUNK, offset - first * CHUNK + length);
  }

  /** Header and size, which a range needs: two small calls at once, and none for a segment that was read before. */
  #open(key: string, identity: string, signal: AbortSignal | undefined): Promise<Opened> {
    const known = this.#opened.get(key);
    if (known) return known;
    const opening = this.#readHeader(key, identity, signal);
    if (!this.#options.isImmutable(key)) return opening;
    if (this.#opened.size >= MAX_REMEMBERED) this.#opened.delete(this.#opened.keys().next().value as string);
    this.#opened.set(key, opening);
    opening.catch(() => this.#opened.delete(key));
    return opening;
  }

  async #readHeader(key: string, identity: string, signal: AbortSignal | undefined): Promise<Opened> {
    const options = signal ? { signal } : {};
    const [prefix, { size }] = await Promise.all([
      this.inner.get(this.#stored(key), { range: { offset: 0, length: PREFIX }, ...options }),
      this.inner.stat(this.#stored(key), options),
    ]);
    const plain = this.#plainSize(key, size);
    return { payloadKey: await this.#intact(key, () => openPrefix(prefix, identity)), size: plain };
  }

  #plainSize(key: string, stored: number): number {
    const size = plainSize(stored);
    if (size === undefined) throw this.#damaged(key, 'no age file has its length');
    return size;
  }

  async #intact<T>(key: string, read: () => Promise<T>): Promise<T> {
    try {
      return await read();
    } catch (cause) {
      throw this.#damaged(key, 'it does not decrypt', cause);
    }
  }

  #damaged(key: string, why: string, cause?: unknown): VolbakError {
    return new VolbakError('INTEGRITY', `${key} in ${this.label} is damaged: ${why}`, { cause });
  }
}
