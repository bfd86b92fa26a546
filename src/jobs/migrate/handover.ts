const NOBODY = 'nobody takes the data any more';

/** Hands chunks from one who pushes to one who pulls, one at a time: whoever is faster waits. */
export class Handover implements AsyncIterable<Uint8Array> {
  #waiting: { bytes: Uint8Array; taken: () => void; refused: (error: Error) => void } | undefined;
  #wake = () => {};
  #end: { error?: unknown } | undefined;
  #gone = false;

  /** Resolves when the chunk was taken; rejects when nobody takes any more. */
  push(bytes: Uint8Array): Promise<void> {
    if (this.#gone) return Promise.reject(new Error(NOBODY));
    return new Promise((taken, refused) => {
      this.#waiting = { bytes, taken, refused };
      this.#wake();
    });
  }

  /** No more comes; with an error, whoever pulls gets it raised. */
  end(error?: unknown): void {
    this.#end ??= error === undefined ? {} : { error };
    this.#wake();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    try {
      for (;;) {
        if (this.#waiting) {
          const { bytes, taken } = this.#waiting;
          // It waits on until the chunk was dealt with: whoever pulls may leave with it in hand.
          yield bytes;
          this.#waiting = undefined;
          taken();
        } else if (this.#end) {
          if ('error' in this.#end) throw this.#end.error;
          return;
        } else {
          await new Promise<void>((resolve) => {
            this.#wake = resolve;
          });
        }
      }
    } finally {
      this.abandon();
    }
  }

  /** Nobody pulls any more: whoever pushes must not go on. */
  abandon(): void {
    this.#gone = true;
    this.#waiting?.refused(new Error(NOBODY));
    this.#waiting = undefined;
  }
}
