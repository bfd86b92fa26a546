import { createHash, type Hash } from 'node:crypto';
import { BLOCK } from './header.ts';

const ZEROS = Buffer.alloc(1024 * 1024);
/** A map of more bytes than this is refused. */
const MAX_MAP = 64 * 1024 * 1024;

/** SHA-256 of a file's logical content, fed with what a tar holds of it. */
export interface ContentHash {
  update(bytes: Buffer): void;
  /** The hash in hex. Throws RangeError where a sparse map does not fit. */
  digest(): string;
}

/** For ordinary members: what is stored is the content. */
export class PlainHash implements ContentHash {
  readonly #hash = createHash('sha256');
  update(bytes: Buffer): void {
    this.#hash.update(bytes);
  }
  digest(): string {
    return this.#hash.digest('hex');
  }
}

interface Extent {
  offset: number;
  length: number;
}

/**
 * For members in GNU's sparse format 1.0 (tar manual, "PAX Format, Version 1.0"): the content begins with a map
 * of decimal lines (count, then offset and length of each extent) padded to a block, then the extents' data.
 * Holes are hashed as zeros.
 */
export class SparseHash implements ContentHash {
  readonly #hash: Hash = createHash('sha256');
  readonly #size: number;
  #map: Buffer = Buffer.alloc(0);
  #extents: Extent[] | undefined;
  #current = 0;
  #inExtent = 0;
  #position = 0;

  constructor(logicalSize: number) {
    this.#size = logicalSize;
  }

  update(bytes: Buffer): void {
    let data = bytes;
    if (!this.#extents) {
      this.#map = Buffer.concat([this.#map, bytes]);
      if (this.#map.length > MAX_MAP) throw new RangeError('a sparse map is too large');
      const parsed = parseMap(this.#map);
      if (!parsed) return;
      this.#extents = parsed.extents;
      data = this.#map.subarray(parsed.length);
      this.#map = Buffer.alloc(0);
    }
    this.#data(data, this.#extents);
  }

  #data(bytes: Buffer, extents: Extent[]): void {
    let at = 0;
    while (at < bytes.length) {
      const extent = extents[this.#current];
      if (!extent) throw new RangeError('a sparse member holds more than its map says');
      if (this.#inExtent === 0) this.#zerosUpTo(extent.offset);
      const n = Math.min(extent.length - this.#inExtent, bytes.length - at);
      this.#hash.update(bytes.subarray(at, at + n));
      this.#position += n;
      this.#inExtent += n;
      at += n;
      if (this.#inExtent === extent.length) {
        this.#current++;
        this.#inExtent = 0;
        this.#skipEmpty(extents);
      }
    }
  }

  #skipEmpty(extents: Extent[]): void {
    while (extents[this.#current]?.length === 0) this.#current++;
  }

  #zerosUpTo(offset: number): void {
    if (offset < this.#position || offset > this.#size) throw new RangeError('a sparse map is out of order');
    while (this.#position < offset) {
      const n = Math.min(ZEROS.length, offset - this.#position);
      this.#hash.update(n === ZEROS.length ? ZEROS : ZEROS.subarray(0, n));
      this.#position += n;
    }
  }

  digest(): string {
    if (!this.#extents) throw new RangeError('a sparse map is cut off');
    this.#skipEmpty(this.#extents);
    if (this.#current < this.#extents.length)
      throw new RangeError('a sparse member holds less than its map says');
    this.#zerosUpTo(this.#size);
    return this.#hash.digest('hex');
  }
}

/** The map at the start of `data` and its length with padding; undefined while it is not whole. */
function parseMap(data: Buffer): { extents: Extent[]; length: number } | undefined {
  const numbers: number[] = [];
  let at = 0;
  let wanted = 1;
  while (numbers.length < wanted) {
    const end = data.indexOf(0x0a, at);
    if (end < 0) return undefined;
    const digits = end - at > 16 ? '' : data.toString('latin1', at, end);
    const number = /^\d+$/.test(digits) ? Number(digits) : Number.NaN;
    if (!Number.isSafeInteger(number)) throw new RangeError('a damaged sparse map');
    if (numbers.length === 0) wanted = 1 + 2 * number;
    numbers.push(number);
    at = end + 1;
  }
  const length = Math.ceil(at / BLOCK) * BLOCK;
  if (data.length < length) return undefined;
  const extents: Extent[] = [];
  for (let i = 1; i < numbers.length; i += 2) {
    extents.push({ offset: numbers[i] ?? 0, length: numbers[i + 1] ?? 0 });
  }
  while (extents[0]?.length === 0 && extents.length > 1) extents.shift();
  return { extents, length };
}
