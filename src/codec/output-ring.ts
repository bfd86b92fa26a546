/** Batches of a thread whose output waits to be taken, at the most. */
const SLOTS = 3;
/** Room for a batch of a few MiB that does not compress; grows where a batch is larger. */
const FIRST_SIZE = 4.25 * 1024 * 1024;

/**
 * Shared memory that a thread hands its output out in, round and round: no message carries memory that somebody would
 * have to free. One word a slot: 0 free, 1 in use.
 */
export class OutputRing {
  readonly #states: Int32Array;
  #buffers: Buffer[] = [];
  #slot = -1;

  /** `states` is shared with whoever takes the output; see `ringStates`. */
  constructor(states: SharedArrayBuffer) {
    this.#states = new Int32Array(states);
  }

  /** The next slot, once its last output was taken, with room for `length` bytes. Blocks the thread. */
  take(length: number): { slot: number; bytes: Buffer } {
    this.#slot = (this.#slot + 1) % SLOTS;
    const slot = this.#slot;
    while (Atomics.load(this.#states, slot) !== 0) Atomics.wait(this.#states, slot, 1);
    Atomics.store(this.#states, slot, 1);
    const had = this.#buffers[slot];
    if (had && had.length >= length) return { slot, bytes: had };
    const bytes = Buffer.from(new SharedArrayBuffer(Math.max(FIRST_SIZE, length)));
    this.#buffers[slot] = bytes;
    return { slot, bytes };
  }
}

export function ringStates(): SharedArrayBuffer {
  return new SharedArrayBuffer(SLOTS * 4);
}

/** Called by whoever took the output of a slot. */
export function freeSlot(states: SharedArrayBuffer, slot: number): void {
  const words = new Int32Array(states);
  Atomics.store(words, slot, 0);
  Atomics.notify(words, slot);
}
