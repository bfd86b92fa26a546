import { createCipheriv, createHash } from 'node:crypto';

const BLOCK = Buffer.alloc(64 * 1024);

/** Random bytes and numbers that are the same in each run for the same seed. */
export class Random {
  private readonly stream;
  private pool = Buffer.alloc(0);
  private used = 0;

  constructor(seed: string) {
    const key = createHash('sha256').update(seed).digest();
    this.stream = createCipheriv('aes-128-ctr', key.subarray(0, 16), key.subarray(16));
  }

  /** That many random bytes, in a buffer of their own. */
  bytes(length: number): Buffer {
    return this.stream.update(Buffer.alloc(length));
  }

  /** A whole number from 0 to limit - 1; limit up to 2^32. */
  below(limit: number): number {
    if (this.used + 4 > this.pool.length) {
      this.pool = this.stream.update(BLOCK);
      this.used = 0;
    }
    this.used += 4;
    return Math.floor((this.pool.readUInt32LE(this.used - 4) / 2 ** 32) * limit);
  }

  /** `count` different whole numbers below `limit`, in no order. */
  sample(count: number, limit: number): number[] {
    const chosen = new Set<number>();
    while (chosen.size < Math.min(count, limit)) chosen.add(this.below(limit));
    return [...chosen];
  }
}
