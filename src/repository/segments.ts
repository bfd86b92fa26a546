import { createHash, randomBytes } from 'node:crypto';
import pLimit, { type LimitFunction } from 'p-limit';
import type { Store } from '../store/store.ts';
import { segmentKey } from './keys.ts';

/** A segment is closed when it has reached this. */
export const SEGMENT_SIZE = 32 * 1024 * 1024;
const MAGIC = 0x184d2a5b;
const TAG = Buffer.from('volbak1', 'latin1');

/** The skippable frame that a segment starts with: makes it unlike any other session's (format.md). */
export function segmentHeader(): Buffer {
  const header = Buffer.alloc(8 + TAG.length + 16);
  header.writeUInt32LE(MAGIC, 0);
  header.writeUInt32LE(TAG.length + 16, 4);
  TAG.copy(header, 8);
  randomBytes(16).copy(header, 8 + TAG.length);
  return header;
}

/** Length of the header of a segment's plain bytes; undefined where they are no segment. */
export function segmentHeaderLength(bytes: Buffer): number | undefined {
  const length = 8 + TAG.length + 16;
  const fits =
    bytes.length >= length &&
    bytes.readUInt32LE(0) === MAGIC &&
    bytes.readUInt32LE(4) === TAG.length + 16 &&
    bytes.subarray(8, 8 + TAG.length).equals(TAG);
  return fits ? length : undefined;
}

/** Names of segments by small numbers, for tables in memory. A segment under way has a number, but no name yet. */
export class SegmentNames {
  readonly #names: (string | undefined)[] = [];
  readonly #numbers = new Map<string, number>();

  numberOf(name: string): number {
    let number = this.#numbers.get(name);
    if (number === undefined) {
      number = this.#names.push(name) - 1;
      this.#numbers.set(name, number);
    }
    return number;
  }

  reserve(): number {
    return this.#names.push(undefined) - 1;
  }

  settle(number: number, name: string): void {
    this.#names[number] = name;
    this.#numbers.set(name, number);
  }

  nameOf(number: number): string | undefined {
    return this.#names[number];
  }
}

export interface SegmentWriterOptions {
  store: Store;
  names: SegmentNames;
  /** Segments on their way to the store at the same time. */
  parallel?: number;
  signal?: AbortSignal;
  /** The store has a segment durably. */
  onDurable?(segment: number, bytes: number): void;
}

/** Gathers frames in segments and puts them into the store, a few at a time. Its buffers are used again and again. */
export class SegmentWriter {
  readonly #options: SegmentWriterOptions;
  readonly #free: Buffer[] = [];
  #buffer: Buffer | undefined;
  #length = 0;
  #number = -1;
  readonly #inFlight = new Set<Promise<void>>();
  readonly #turn: LimitFunction;
  /** Segments put at the same time. */
  readonly #parallel: number;
  /** Closed segments that may wait for their turn in memory; each takes SEGMENT_SIZE. */
  backlog = 0;
  #failure: unknown;
  /** Names of all segments written, in order. */
  readonly written: string[] = [];
  storedBytes = 0;

  constructor(options: SegmentWriterOptions) {
    this.#options = options;
    this.#parallel = (options.parallel ?? 1) + 1;
    this.#turn = pLimit(this.#parallel);
  }

  /** Appends one stored frame; resolves when there is room for the next. */
  async add(stored: Buffer): Promise<{ segment: number; offset: number }> {
    if (this.#length + stored.length > SEGMENT_SIZE) await this.close();
    this.#buffer ??= this.#begin();
    const place = { segment: this.#number, offset: this.#length };
    stored.copy(this.#buffer, this.#length);
    this.#length += stored.length;
    return place;
  }

  #begin(): Buffer {
    const buffer = this.#free.pop() ?? Buffer.allocUnsafeSlow(SEGMENT_SIZE);
    this.#number = this.#options.names.reserve();
    this.#length = segmentHeader().copy(buffer);
    return buffer;
  }

  /** Closes the segment under way: it has its name now and goes to the store. */
  async close(): Promise<void> {
    if (this.#failure) throw this.#failure;
    const buffer = this.#buffer;
    if (!buffer) return;
    const bytes = buffer.subarray(0, this.#length);
    this.#buffer = undefined;
    this.#length = 0;
    const name = createHash('sha256').update(bytes).digest('hex');
    this.#options.names.settle(this.#number, name);
    this.written.push(name);
    const number = this.#number;
    const put = this.#turn(() => this.#put(name, number, bytes)).finally(() => {
      this.#inFlight.delete(put);
      if (this.#free.length < this.#parallel) this.#free.push(buffer);
    });
    this.#inFlight.add(put);
    while (this.#inFlight.size >= this.#parallel + this.backlog) await Promise.race(this.#inFlight);
    if (this.#failure) throw this.#failure;
  }

  /** Closes, and resolves when the store has everything durably. */
  async flush(): Promise<void> {
    await this.close();
    await Promise.all(this.#inFlight);
    if (this.#failure) throw this.#failure;
  }

  async #put(name: string, number: number, bytes: Buffer): Promise<void> {
    const { store, signal, onDurable } = this.#options;
    try {
      await store.put(segmentKey(name), bytes, signal ? { signal } : {});
      this.storedBytes += bytes.length;
      onDurable?.(number, bytes.length);
    } catch (error) {
      this.#failure ??= error;
    }
  }
}
