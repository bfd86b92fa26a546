import { VolbakError } from '../core/errors.ts';
import { sleep } from '../core/sleep.ts';
import type { GetOptions, PutOptions, Store, StoredObject } from './store.ts';
import { StoreWrapper } from './wrapper.ts';

export type FaultVerb = 'put' | 'get' | 'stat' | 'list' | 'delete';

/**
 * - `fail`: refused, nothing done; `lost`: done, but the answer says it failed;
 * - `delay`: a few milliseconds; `short`: a get with fewer bytes; `wrong`: a get with a flipped bit;
 * - `cut`: a listing that ends in the middle with an error.
 */
export type FaultKind = 'fail' | 'lost' | 'delay' | 'short' | 'wrong' | 'cut';

export interface FaultOptions {
  seed: number;
  /** How likely a call of the verb suffers a fault of the kind: 0 to 1. */
  rates: Partial<Record<FaultVerb, Partial<Record<FaultKind, number>>>>;
  /** Whether failures say that another try may help. */
  retryable?: boolean;
}

/** mulberry32: small, seeded, good enough to choose faults. */
function generator(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A store that misbehaves, reproducibly: for tests. */
export class FaultStore extends StoreWrapper {
  readonly #options: FaultOptions;
  readonly #random: () => number;
  /** Faults that struck so far. */
  struck = 0;

  constructor(inner: Store, options: FaultOptions) {
    super(inner);
    this.#options = options;
    this.#random = generator(options.seed);
  }

  override async put(key: string, bytes: Uint8Array, options?: PutOptions): Promise<void> {
    await this.#before('put', key);
    await this.inner.put(key, bytes, options);
    this.#after('put', key);
  }

  override async get(key: string, options?: GetOptions): Promise<Buffer> {
    await this.#before('get', key);
    const bytes = await this.inner.get(key, options);
    if (bytes.length > 0 && this.#strikes('get', 'short'))
      return bytes.subarray(0, Math.floor(this.#random() * bytes.length));
    if (bytes.length > 0 && this.#strikes('get', 'wrong')) {
      const at = Math.floor(this.#random() * bytes.length);
      bytes[at] = (bytes[at] as number) ^ (1 << Math.floor(this.#random() * 8));
    }
    return bytes;
  }

  override async stat(key: string, options?: { signal?: AbortSignal }): Promise<StoredObject> {
    await this.#before('stat', key);
    return this.inner.stat(key, options);
  }

  override async *list(prefix: string, options?: { signal?: AbortSignal }): AsyncIterable<StoredObject> {
    await this.#before('list', prefix);
    const cut = this.#strikes('list', 'cut') ? Math.floor(this.#random() * 5) : Number.POSITIVE_INFINITY;
    let given = 0;
    for await (const object of this.inner.list(prefix, options)) {
      if (given++ >= cut) throw this.#failure('list', prefix);
      yield object;
    }
  }

  override async delete(key: string, options?: { signal?: AbortSignal }): Promise<void> {
    await this.#before('delete', key);
    await this.inner.delete(key, options);
    this.#after('delete', key);
  }

  #strikes(verb: FaultVerb, kind: FaultKind): boolean {
    const strikes = this.#random() < (this.#options.rates[verb]?.[kind] ?? 0);
    if (strikes) this.struck++;
    return strikes;
  }

  async #before(verb: FaultVerb, key: string): Promise<void> {
    if (this.#strikes(verb, 'delay')) await sleep(1 + this.#random() * 5);
    if (this.#strikes(verb, 'fail')) throw this.#failure(verb, key);
  }

  #after(verb: FaultVerb, key: string): void {
    if (this.#strikes(verb, 'lost')) throw this.#failure(verb, key);
  }

  #failure(verb: FaultVerb, key: string): VolbakError {
    return new VolbakError('STORE_UNREACHABLE', `an injected fault: ${verb} ${key}`, {
      retryable: this.#options.retryable ?? true,
    });
  }
}
