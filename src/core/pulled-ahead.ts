/**
 * Asks a source for items before anybody wants them, up to a weight of `limit` in all; what is beyond is asked for as it is
 * wanted. Where all weigh less than that, they can be gone through again. `close` must be called where `items` may not be gone
 * through to the end.
 */
export class PulledAhead<T> {
  readonly #source: AsyncGenerator<T>;
  readonly #weigh: (item: T) => number;
  readonly #limit: number;
  #items: T[] = [];
  #weight = 0;
  readonly #pulling: Promise<void>;
  readonly #stop: AbortController;
  #wanted = false;
  #whole = false;
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
    this.#weigh = weigh;
    this.#limit = limit;
    this.#stop = stop;
    this.#pulling = this.#pull();
    this.#pulling.catch(() => {
      this.failed = true;
    });
  }

  /** All items in order. Raises what the source raises. To be called once. */
  async *items(): AsyncGenerator<T> {
    this.#wanted = true;
    await this.#pulling;
    if (this.#isFull) yield* drain(this.#items);
    else yield* this.#items;
    for await (const item of this.#source) {
      this.#keep(item);
      if (this.#isFull) this.#items = [];
      yield item;
    }
    this.#whole = !this.#isFull;
  }

  /**
   * All items once more after `items` gave the last; undefined where they were too heavy. They are let go of as they are given,
   * and all of them when the generator is returned.
   */
  again(): AsyncGenerator<T> | undefined {
    return this.#whole ? drain(this.#items) : undefined;
  }

  /** Lets go of what is kept to be given again. */
  forget(): void {
    this.#whole = false;
    this.#items = [];
  }

  async close(): Promise<void> {
    this.#wanted = true;
    this.#stop.abort();
    await this.#pulling.catch(() => {});
    await this.#source.return(undefined);
  }

  async #pull(): Promise<void> {
    while (!this.#isFull && !this.#wanted) {
      const { value, done } = await this.#source.next();
      if (done) return;
      this.#keep(value);
    }
  }

  get #isFull(): boolean {
    return this.#weight >= this.#limit;
  }

  #keep(item: T): void {
    this.#items.push(item);
    this.#weight += this.#weigh(item);
  }
}

async function* drain<T>(items: T[]): AsyncGenerator<T> {
  try {
    for (let item = items.shift(); item !== undefined; item = items.shift()) yield item;
  } finally {
    items.length = 0;
  }
}
