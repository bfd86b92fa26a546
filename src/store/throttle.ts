import { sleep } from '../core/sleep.ts';
import type { GetOptions, PutOptions, Store } from './store.ts';
import { StoreWrapper } from './wrapper.ts';

export interface ThrottleOptions {
  /** Bytes per second to the store. */
  upload?: number;
  /** Bytes per second from it. */
  download?: number;
}

/** Time by which a line is booked; each object waits until what was booked before it has passed. */
class Line {
  readonly #rate: number;
  #free = 0;

  constructor(rate: number) {
    this.#rate = rate;
  }

  async pass(bytes: number, signal: AbortSignal | undefined): Promise<void> {
    const now = performance.now();
    const start = Math.max(now, this.#free);
    this.#free = start + (bytes / this.#rate) * 1000;
    if (this.#free > now) await sleep(this.#free - now, signal);
  }
}

/** Keeps the average rate to and from a store below a limit, object by object. */
export class ThrottleStore extends StoreWrapper {
  readonly #up: Line | undefined;
  readonly #down: Line | undefined;

  constructor(inner: Store, { upload, download }: ThrottleOptions) {
    super(inner);
    this.#up = upload === undefined ? undefined : new Line(upload);
    this.#down = download === undefined ? undefined : new Line(download);
  }

  override async put(key: string, bytes: Uint8Array, options: PutOptions = {}): Promise<void> {
    await Promise.all([this.inner.put(key, bytes, options), this.#up?.pass(bytes.length, options.signal)]);
  }

  override async get(key: string, options: GetOptions = {}): Promise<Buffer> {
    const bytes = await this.inner.get(key, options);
    await this.#down?.pass(bytes.length, options.signal);
    return bytes;
  }
}
