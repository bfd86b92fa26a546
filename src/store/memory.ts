import { type Clock, systemClock } from '../core/clock.ts';
import { VolbakError } from '../core/errors.ts';
import { assertKey } from './keys.ts';
import type { GetOptions, PutOptions, Store, StoredObject } from './store.ts';

/** A store in memory, for tests and for measuring without a disk. */
export class MemoryStore implements Store {
  readonly label = 'memory';
  readonly #clock: Clock;
  readonly #objects = new Map<string, { bytes: Buffer; modified: Date }>();

  /** `clock` is the store's own. */
  constructor(clock: Clock = systemClock) {
    this.#clock = clock;
  }

  async put(key: string, bytes: Uint8Array, options: PutOptions = {}): Promise<void> {
    assertKey(key);
    options.signal?.throwIfAborted();
    if (options.ifAbsent && this.#objects.has(key)) {
      throw new VolbakError('STORE_EXISTS', `${key} exists already in ${this.label}`);
    }
    this.#objects.set(key, { bytes: Buffer.from(bytes), modified: this.#clock.now() });
  }

  async get(key: string, options: GetOptions = {}): Promise<Buffer> {
    options.signal?.throwIfAborted();
    const { bytes } = this.#find(key);
    if (!options.range) return Buffer.from(bytes);
    const { offset, length } = options.range;
    if (offset + length > bytes.length) {
      throw new VolbakError('INTEGRITY', `${key} in ${this.label} is shorter than it should be`);
    }
    return Buffer.from(bytes.subarray(offset, offset + length));
  }

  async stat(key: string, options: { signal?: AbortSignal } = {}): Promise<StoredObject> {
    options.signal?.throwIfAborted();
    const { bytes, modified } = this.#find(key);
    return { key, size: bytes.length, modified };
  }

  async *list(prefix: string, options: { signal?: AbortSignal } = {}): AsyncIterable<StoredObject> {
    for (const [key, { bytes, modified }] of [...this.#objects]) {
      options.signal?.throwIfAborted();
      if (key.startsWith(prefix)) yield { key, size: bytes.length, modified };
    }
  }

  async delete(key: string, options: { signal?: AbortSignal } = {}): Promise<void> {
    assertKey(key);
    options.signal?.throwIfAborted();
    this.#objects.delete(key);
  }

  async close(): Promise<void> {}

  #find(key: string): { bytes: Buffer; modified: Date } {
    assertKey(key);
    const object = this.#objects.get(key);
    if (!object) throw new VolbakError('STORE_NOT_FOUND', `${key} is not in ${this.label}`);
    return object;
  }
}
