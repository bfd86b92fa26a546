import { isVolbakError, messageOf, VolbakError } from '../core/errors.ts';
import { sleep } from '../core/sleep.ts';
import type { GetOptions, PutOptions, Store, StoredObject } from './store.ts';
import { StoreWrapper } from './wrapper.ts';

export interface RetryOptions {
  /** How long one call may go on failing, in milliseconds from its first failure: a slow line is no failure. */
  limitMs: number;
  /** Told before each wait, so that a person sees why nothing moves. */
  onRetry?(message: string, waitMs: number): void;
  /** For tests. */
  wait?(ms: number, signal?: AbortSignal): Promise<void>;
  random?(): number;
  now?(): number;
}

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 30_000;

/** Tries calls again that failed for a passing reason: exponential back-off with full jitter, up to a total limit. */
export class RetryStore extends StoreWrapper {
  readonly #options: Required<Omit<RetryOptions, 'onRetry'>> & Pick<RetryOptions, 'onRetry'>;

  constructor(inner: Store, options: RetryOptions) {
    super(inner);
    this.#options = { wait: sleep, random: Math.random, now: () => performance.now(), ...options };
  }

  override put(key: string, bytes: Uint8Array, options: PutOptions = {}): Promise<void> {
    let tries = 0;
    return this.#retry(options.signal, async () => {
      tries++;
      try {
        await this.inner.put(key, bytes, options);
      } catch (error) {
        // The put that seemed to fail may have been the one that took the name.
        const ours =
          tries > 1 &&
          isVolbakError(error, 'STORE_EXISTS') &&
          (await this.#holds(key, bytes, options.signal));
        if (!ours) throw error;
      }
    });
  }

  override get(key: string, options: GetOptions = {}): Promise<Buffer> {
    return this.#retry(options.signal, () => this.inner.get(key, options));
  }

  override stat(key: string, options: { signal?: AbortSignal } = {}): Promise<StoredObject> {
    return this.#retry(options.signal, () => this.inner.stat(key, options));
  }

  override delete(key: string, options: { signal?: AbortSignal } = {}): Promise<void> {
    return this.#retry(options.signal, () => this.inner.delete(key, options));
  }

  /** A listing that broke begins anew; what was given already is not given twice. */
  override async *list(prefix: string, options: { signal?: AbortSignal } = {}): AsyncIterable<StoredObject> {
    const given = new Set<string>();
    let retry = this.#retrier(options.signal);
    for (;;) {
      try {
        for await (const object of this.inner.list(prefix, options)) {
          if (given.has(object.key)) continue;
          given.add(object.key);
          // It goes on: whatever fails later begins its own count.
          if (retry.failed()) retry = this.#retrier(options.signal);
          yield object;
        }
        return;
      } catch (error) {
        await retry.next(error);
      }
    }
  }

  async #holds(key: string, bytes: Uint8Array, signal: AbortSignal | undefined): Promise<boolean> {
    return (await this.inner.get(key, signal ? { signal } : {})).equals(bytes);
  }

  async #retry<T>(signal: AbortSignal | undefined, call: () => Promise<T>): Promise<T> {
    const retry = this.#retrier(signal);
    for (;;) {
      try {
        return await call();
      } catch (error) {
        await retry.next(error);
      }
    }
  }

  /** For one call: waits before the next try, or throws what cannot be helped. */
  #retrier(signal: AbortSignal | undefined): { failed(): boolean; next(error: unknown): Promise<void> } {
    const { limitMs, onRetry, wait, random, now } = this.#options;
    let begun: number | undefined;
    let tries = 0;
    const next = async (error: unknown): Promise<void> => {
      signal?.throwIfAborted();
      if (!(error instanceof VolbakError) || !error.retryable) throw error;
      begun ??= now();
      const left = begun + limitMs - now();
      if (left <= 0) {
        throw new VolbakError(error.code, `${messageOf(error)}; given up after ${tries + 1} tries`, {
          cause: error,
          hint: error.hint ?? 'Try again when the server is back; what was stored is not lost.',
        });
      }
      const most = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** tries++);
      const ms = Math.min(left, most / 2 + (most / 2) * random());
      onRetry?.(error.message, ms);
      await wait(ms, signal);
    };
    return { failed: () => begun !== undefined, next };
  }
}
