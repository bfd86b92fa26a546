import { createHash, type Hash } from 'node:crypto';
import { BLOCK } from './header.ts';

const ZEROS = Buffer.alloc(1024 * 1024);
/** A map of more bytes or extents than this is refused. */
const MAX_MAP = 64 * 1024 * 1024;
const MAX_EXTENTS = 4 * 1024 * 1024;

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

/** Extents as the numbers of a map, count first: objects for millions of them would take a gigabyte. */
class Extents {
  readonly #numbers: readonly number[];

  constructor(numbers: readonly number[]) {
    this.#numbers = numbers;
  }

  get count(): number {
    return (this.#numbers.length - 1) / 2;
  }

  at(index: number): Extent | undefined {
    if (index >= this.count) return undefined;
    return { offset: this.#numbers[1 + 2 * index] ?? 0, length: this.#numbers[2 + 2 * index] ?? 0 };
  }
}

/**
 * For members in GNU's sparse format 1.0 (tar manual, "PAX Format, Version 1.0"): the content begins with a map
 * of decimal lines (count, then offset and length of each extent) padded to a block, then the extents' data.
 * Holes are hashed as zeros.
 */
export class SparseHash implements ContentHash {
  readonly #hash: Hash = createHash('sha256');
  readonly #size: number;
  readonly #map = new SparseMap();
  #extents: Extents | undefined;
  #current = 0;
  #inExtent = 0;
  #position = 0;

  constructor(logicalSize: number) {
    this.#size = logicalSize;
  }

  update(bytes: Buffer): void {
    let data = bytes;
    if (!this.#extents) {
      const used = this.#map.take(bytes);
      this.#extents = this.#map.extents;
      if (!this.#extents) return;
      this.#skipEmpty(this.#extents);
      data = bytes.subarray(used);
    }
    this.#data(data, this.#extents);
  }

  #data(bytes: Buffer, extents: Extents): void {
    let at = 0;
    while (at < bytes.length) {
      const extent = extents.at(this.#current);
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

  #skipEmpty(extents: Extents): void {
    while (extents.at(this.#current)?.length === 0) this.#current++;
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
    if (this.#current < this.#extents.count)
      throw new RangeError('a sparse member holds less than its map says');
    this.#zerosUpTo(this.#size);
    return this.#hash.digest('hex');
  }
}

/** Reads the map piece by piece; each byte is looked at once, however many extents there are. */
class SparseMap {
  /** Known when the map and its padding are whole. */
  extents: Extents | undefined;
  readonly #numbers: number[] = [];
  #wanted = 1;
  #line = '';
  #length = 0;

  /** Takes what belongs to the map; returns how many bytes that was. Throws RangeError. */
  take(bytes: Buffer): number {
    let at = 0;
    while (at < bytes.length && this.#numbers.length < this.#wanted) {
      const end = bytes.indexOf(0x0a, at);
      this.#line += bytes.toString('latin1', at, end < 0 ? bytes.length : end);
      if (this.#line.length > 16) throw new RangeError('a damaged sparse map');
      if (end < 0) {
        at = bytes.length;
        break;
      }
      this.#number();
      at = end + 1;
    }
    this.#length += at;
    if (this.#length > MAX_MAP) throw new RangeError('a sparse map is too large');
    return this.#numbers.length < this.#wanted ? at : at + this.#padding(bytes.length - at);
  }

  #number(): void {
    const number = /^\d+$/.test(this.#line) ? Number(this.#line) : Number.NaN;
    if (!Number.isSafeInteger(number)) throw new RangeError('a damaged sparse map');
    if (this.#numbers.length === 0) {
      if (number > MAX_EXTENTS) throw new RangeError('a sparse map is too large');
      this.#wanted = 1 + 2 * number;
    }
    this.#numbers.push(number);
    this.#line = '';
  }

  #padding(available: number): number {
    const missing = Math.ceil(this.#length / BLOCK) * BLOCK - this.#length;
    const n = Math.min(missing, available);
    this.#length += n;
    if (n === missing) this.extents = new Extents(this.#numbers);
    return n;
  }
}
