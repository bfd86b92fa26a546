import { MAX_FRAME } from './frame-ref.ts';

/** Content up to this is one frame, so its SHA-256 is the file's. */
export const WHOLE_CONTENT = 1024 * 1024;
const MIN = 128 * 1024;
const NORMAL = 256 * 1024;

/** Before the normal size a cut needs 20 zero bits, after it 16: FastCDC's normalised chunking, level 2. */
const MASK_BEFORE = -1 << (32 - 20);
const MASK_AFTER = -1 << (32 - 16);

/**
 * The gear table of format 1: 256 numbers of 32 bits from splitmix32 with the seed "volb" (0x766f6c62).
 * Any change of it makes every later backup cut differently; test/repository/chunker.test.ts holds its hash.
 */
export const GEAR = makeGear(0x766f6c62);

function makeGear(seed: number): Int32Array {
  const table = new Int32Array(256);
  let state = seed;
  for (let i = 0; i < 256; i++) {
    state = (state + 0x9e3779b9) | 0;
    let z = state ^ (state >>> 16);
    z = Math.imul(z, 0x21f0aaad);
    z ^= z >>> 15;
    z = Math.imul(z, 0x735a2d97);
    table[i] = z ^ (z >>> 15);
  }
  return table;
}

/**
 * Finds content-defined cuts in a stream (FastCDC, Xia et al. 2016: gear hash, minimum skipped, normalised):
 * at least 128 KiB, on average about 300 KiB, at most 2 MiB (docs/adr/0013). The *high* bits of the hash decide: only they
 * depend on the whole window of 32 bytes.
 */
export class ContentChunker {
  #length = 0;
  #hash = 0;

  /**
   * Scans `bytes` from `start`. Returns where in `bytes` the chunk under way ends (an index after its last
   * byte), or -1 where all of `bytes` belongs to it.
   */
  cut(bytes: Uint8Array, start: number): number {
    let at = start;
    if (this.#length < MIN) {
      const skip = Math.min(MIN - this.#length, bytes.length - at);
      at += skip;
      this.#length += skip;
    }
    at = this.#scan(bytes, at, NORMAL, MASK_BEFORE);
    if (at < 0) return this.#done(-at);
    at = this.#scan(bytes, at, MAX_FRAME, MASK_AFTER);
    if (at < 0) return this.#done(-at);
    if (this.#length === MAX_FRAME) return this.#done(at);
    return -1;
  }

  /** Forgets the chunk under way: the content ended. */
  reset(): void {
    this.#length = 0;
    this.#hash = 0;
  }

  #done(at: number): number {
    this.reset();
    return at;
  }

  /** Scans until the chunk is `limit` long; minus the index after the cut, or the index it came to. */
  #scan(bytes: Uint8Array, start: number, limit: number, mask: number): number {
    const end = Math.min(bytes.length, start + limit - this.#length);
    let hash = this.#hash;
    for (let i = start; i < end; i++) {
      hash = ((hash << 1) + (GEAR[bytes[i] as number] as number)) | 0;
      if ((hash & mask) === 0) return -(i + 1);
    }
    if (end > start) {
      this.#length += end - start;
      this.#hash = hash;
      return end;
    }
    return start;
  }
}
