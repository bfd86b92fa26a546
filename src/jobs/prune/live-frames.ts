/** Slots of the largest set: 256 MiB. */
const MAX_SLOTS = 2 ** 25;
const OFFSETS = 2 ** 26;

/**
 * Which frames of which segments are in use, each counted once, in bounded memory: where there are too many it goes on with
 * half of the segments, by chance, so that over several runs all have their turn.
 */
export class LiveFrames {
  #slots = new Float64Array(2 ** 14);
  #count = 0;
  #modulo = 1;
  #remainder = 0;
  readonly #maxSlots: number;
  readonly #live = new Map<number, number>();

  constructor(maxSlots = MAX_SLOTS) {
    this.#maxSlots = maxSlots;
  }

  /** True while all frames of the segment are counted. */
  tracks(segment: number): boolean {
    return segment % this.#modulo === this.#remainder;
  }

  /** Stored bytes in use in a segment. */
  liveBytes(segment: number): number {
    return this.#live.get(segment) ?? 0;
  }

  add(segment: number, offset: number, length: number): void {
    if (!this.tracks(segment) || !this.#insert(segment * OFFSETS + offset + 1)) return;
    this.#live.set(segment, this.liveBytes(segment) + length);
    while (this.#count * 2 > this.#slots.length) this.#grow();
  }

  #insert(key: number): boolean {
    const mask = this.#slots.length - 1;
    // Knuth's constant spreads neighbours; the division keeps what does not fit into 32 bits.
    let slot = (Math.imul(key | 0, 0x9e3779b1) ^ Math.imul(Math.floor(key / 2 ** 32), 0x85ebca6b)) & mask;
    for (; this.#slots[slot] !== 0; slot = (slot + 1) & mask) if (this.#slots[slot] === key) return false;
    this.#slots[slot] = key;
    this.#count++;
    return true;
  }

  #grow(): void {
    const old = this.#slots;
    if (old.length >= this.#maxSlots) {
      if (Math.random() < 0.5) this.#remainder += this.#modulo;
      this.#modulo *= 2;
    }
    this.#slots = new Float64Array(Math.min(old.length * 2, this.#maxSlots));
    this.#count = 0;
    for (const key of old) {
      if (key !== 0 && this.tracks(Math.floor((key - 1) / OFFSETS))) this.#insert(key);
    }
  }
}
