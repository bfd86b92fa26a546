/**
 * Asks a source for items before anybody wants them, up to a weight of `limit` in all; what is beyond is asked for as it is
 * wanted. `close` must be called where `items` may not be gone through to the end.
 */
export class PulledAhead<T> {
  readonly #source: AsyncGenerator<T>;
  readonly #ready: T[] = [];
  readonly #pulling: Promise<{ ended: boolean }>;
  readonly #stop: AbortController;
  #wanted = false;
  /** True once the source has failed; whoever goes through the items hears why. */
  failed = false;

  /** `stop` ends what the source waits for. */
  constructor(
    source: AsyncGenerator<T>,
    weigh: (item: T) => number,
    limit: number,
    stop = new AbortController(),
  ) {
    this.#source = source;
    this.#stop = stop;
    this.#pulling = this.#pull(weigh, limit);
    this.#pulling.catch(() => {
      this.failed = true;
    });
  }

  /** All items in order. Raises what the source raises. To be called once. */
  async *items(): AsyncGenerator<T> {
    this.#wanted = true;
    const { ended } = await this.#pulling;
    for (let item = this.#ready.shift(); item !== undefined; item = this.#ready.shift()) yield item;
    if (!ended) yield* this.#source;
  }

  async close(): Promise<void> {
    this.#wanted = true;
    this.#stop.abort();
    await this.#pulling.catch(() => {});
    await this.#source.return(undefined);
  }

  async #pull(weigh: (item: T) => number, limit: number): Promise<{ ended: boolean }> {
    for (let weight = 0; weight < limit && !this.#wanted; ) {
      const { value, done } = await this.#source.next();
      if (done) return { ended: true };
      this.#ready.push(value);
      weight += weigh(value);
    }
    return { ended: false };
  }
}
