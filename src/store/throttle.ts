import { sleep } from '../core/sleep.ts';
import type { GetOptions, PutOptions, Store } from './store.ts';
import { StoreWrapper } from './wrapper.ts';

/** For tests. */
export interface ThrottleClock {
  now(): number;
  wait(ms: number, signal?: AbortSignal): Promise<void>;
}

const REAL: ThrottleClock = { now: () => performance.now(), wait: sleep };

export interface ThrottleOptions {
  /** Bytes per second to the store. */
  upload?: number;
  /** Bytes per second from it. */
  download?: number;
}

/** Books time on a line: each object takes as long as its bytes do at the line's rate, one after the other. */
class Line {
  readonly #rate: number;
  readonly #clock: ThrottleClock;
  #free = 0;

  constructor(rate: number, clock: ThrottleClock) {
    this.#rate = rate;
    this.#clock = clock;
  }

  book(bytes: number): { over(signal: AbortSignal | undefined): Promise<void>; cancel(): void } {
    const now = this.#clock.now();
    const length = (bytes / this.#rate) * 1000;
    this.#free = Math.max(now, this.#free) + length;
    const end = this.#free;
    return {
      over: async (signal) => {
        const left = end - this.#clock.now();
        if (left > 0) await this.#clock.wait(left, signal);
      },
      cancel: () => {
        this.#free -= length;
      },
    };
  }
}

/** Keeps the average rate to and from a store below a limit, object by object. */
export class ThrottleStore extends StoreWrapper {
  readonly #up: Line | undefined;
  readonly #down: Line | undefined;

  constructor(inner: Store, { upload, download }: ThrottleOptions, clock = REAL) {
    super(inner);
    this.#up = upload === undefined ? undefined : new Line(upload, clock);
    this.#down = download === undefined ? undefined : new Line(download, clock);
  }

  /** The time of a put that failed is given back: trying again must not pay twice. */
  override async put(key: string, bytes: Uint8Array, options: PutOptions = {}): Promise<void> {
    const booked = this.#up?.book(bytes.length);
    try {
      await this.inner.put(key, bytes, options);
    } catch (error) {
      booked?.cancel();
      throw error;
    }
    await booked?.over(options.signal);
  }

  override async get(key: string, options: GetOptions = {}): Promise<Buffer> {
    const bytes = await this.inner.get(key, options);
    await this.#down?.book(bytes.length).over(options.signal);
    return bytes;
  }
}
