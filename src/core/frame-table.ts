/** Where a frame lies and what it is; `segment` is a number the writer of the table gave. */
export interface FrameEntry {
  segment: number;
  offset: number;
  length: number;
  raw: number;
}

const HASH = 32;
const WORDS = 4;

/** Frames a table holds at the most: 96 MiB of memory, touched only as it fills. Beyond it frames count as unknown. */
export const MAX_KNOWN_FRAMES = 2_000_000;

/**
 * The known frames by SHA-256, in shared memory: one thread adds, all may look up at the same time.
 * Open addressing; a slot is published last, so a reader sees a whole entry or none.
 */
export class FrameTable {
  /** To be handed to other threads; see `FrameTable.attach`. */
  readonly shared: SharedArrayBuffer;
  readonly #slots: Int32Array;
  readonly #mask: number;
  readonly #hashes: Buffer;
  readonly #words: Uint32Array;
  readonly #counters: Int32Array;

  private constructor(shared: SharedArrayBuffer) {
    this.shared = shared;
    const [capacity = 0, slotCount = 0] = new Int32Array(shared, 0, 2);
    this.#counters = new Int32Array(shared, 8, 2);
    this.#slots = new Int32Array(shared, 16, slotCount);
    this.#mask = slotCount - 1;
    this.#words = new Uint32Array(shared, 16 + slotCount * 4, capacity * WORDS);
    this.#hashes = Buffer.from(shared, 16 + slotCount * 4 + capacity * WORDS * 4, capacity * HASH);
  }

  /** A new, empty table for up to `capacity` frames. */
  static create(capacity = MAX_KNOWN_FRAMES): FrameTable {
    const slotCount = 2 ** Math.ceil(Math.log2(Math.max(16, capacity * 2)));
    const shared = new SharedArrayBuffer(16 + slotCount * 4 + capacity * (WORDS * 4 + HASH));
    new Int32Array(shared, 0, 2).set([capacity, slotCount]);
    return new FrameTable(shared);
  }

  /** The same table in another thread. */
  static attach(shared: SharedArrayBuffer): FrameTable {
    return new FrameTable(shared);
  }

  get size(): number {
    return Atomics.load(this.#counters, 0);
  }

  /** Number of the entry with this hash (32 bytes at `at` in `hash`), or -1. */
  find(hash: Buffer, at = 0): number {
    for (let slot = hash.readUInt32LE(at) & this.#mask; ; slot = (slot + 1) & this.#mask) {
      const entry = Atomics.load(this.#slots, slot) - 1;
      if (entry < 0) return -1;
      if (this.#hashes.compare(hash, at, at + HASH, entry * HASH, (entry + 1) * HASH) === 0) return entry;
    }
  }

  entry(number: number): FrameEntry {
    const at = number * WORDS;
    return {
      segment: this.#words[at] ?? 0,
      offset: this.#words[at + 1] ?? 0,
      length: this.#words[at + 2] ?? 0,
      raw: this.#words[at + 3] ?? 0,
    };
  }

  /** SHA-256 of an entry, 32 bytes. */
  hashOf(number: number): Buffer {
    return this.#hashes.subarray(number * HASH, (number + 1) * HASH);
  }

  /** Adds a frame unless it is there or the table is full; only one thread may call this. */
  add(hash: Buffer, at: number, entry: FrameEntry): void {
    const number = this.size;
    if (number * WORDS >= this.#words.length || this.find(hash, at) >= 0) return;
    this.#hashes.set(hash.subarray(at, at + HASH), number * HASH);
    this.#words.set([entry.segment, entry.offset, entry.length, entry.raw], number * WORDS);
    let slot = hash.readUInt32LE(at) & this.#mask;
    while (Atomics.load(this.#slots, slot) !== 0) slot = (slot + 1) & this.#mask;
    Atomics.store(this.#slots, slot, number + 1);
    Atomics.store(this.#counters, 0, number + 1);
  }
}
