import type { EncodeBatch, EncodedBatch, FramePool } from '../codec/pool.ts';
import { VolbakError } from '../core/errors.ts';
import type { FrameTable } from '../core/frame-table.ts';
import type { Store } from '../store/store.ts';
import { type FrameHandle, resolveHandle } from './frame-handle.ts';
import type { FrameRef } from './frame-ref.ts';
import { SegmentNames, SegmentWriter } from './segments.ts';

export interface FrameWriterOptions {
  store: Store;
  pool: FramePool;
  /** Known frames; those written are added. The pool's threads must share it. */
  table: FrameTable;
  parallel?: number;
  signal?: AbortSignal;
  /** Frames of a segment that the store has durably now. */
  onDurable?(frames: FrameRef[]): void;
}

/** Counts what was not known before, where several write at the same time. */
export interface Tally {
  /** Raw bytes. */
  newBytes: number;
  storedBytes: number;
}

/** Stores frames that are not known yet, in the order in which they were given; the known ones cost nothing. */
export class FrameWriter {
  readonly names = new SegmentNames();
  readonly table: FrameTable;
  readonly #pool: FramePool;
  readonly #segments: SegmentWriter;
  #tail: Promise<unknown> = Promise.resolve();
  /** Frames in segments that are not durable yet, by the segment's number. */
  readonly #placed = new Map<number, FrameHandle[]>();
  /** Raw bytes of frames that were not known before. */
  newBytes = 0;
  /** Stored bytes of those frames; the store may not have them all yet. */
  placedBytes = 0;

  constructor(options: FrameWriterOptions) {
    this.table = options.table;
    this.#pool = options.pool;
    const { store, parallel, signal, onDurable } = options;
    this.#segments = new SegmentWriter({
      store,
      names: this.names,
      ...(parallel === undefined ? {} : { parallel }),
      ...(signal ? { signal } : {}),
      onDurable: (segment) => {
        const handles = this.#placed.get(segment) ?? [];
        this.#placed.delete(segment);
        onDurable?.(handles.map((handle) => this.refOf(handle)));
      },
    });
  }

  get storedBytes(): number {
    return this.#segments.storedBytes;
  }

  get segmentsWritten(): readonly string[] {
    return this.#segments.written;
  }

  /** Makes a frame known that lies in the repository already. */
  addKnown([segment, offset, length, raw, sha256]: FrameRef): void {
    const entry = { segment: this.names.numberOf(segment), offset, length, raw };
    this.table.add(Buffer.from(sha256, 'hex'), 0, entry);
  }

  /** The reference of a frame whose segment is closed. */
  refOf(handle: FrameHandle): FrameRef {
    const ref = resolveHandle(handle, this.table, this.names);
    if (!ref) throw new VolbakError('UNEXPECTED', 'a frame was named before its segment was closed');
    return ref;
  }

  /** How many closed segments may wait in memory for their turn at the store, besides those on their way. */
  set backlog(segments: number) {
    this.#segments.backlog = segments;
  }

  /** Encodes in threads at once; frames are placed in the order of the calls. `tally` counts those of this batch, too. */
  write(batch: EncodeBatch, tally?: Tally): Promise<FrameHandle[]> {
    const encoded = this.#pool.encode(batch);
    const placed = this.#tail.then(async () => this.#place(batch, await encoded, tally));
    // Whoever called hears of a failure through `placed`; the chain only must not go on after one.
    encoded.catch(() => {});
    placed.catch(() => {});
    this.#tail = placed;
    return placed;
  }

  /** Gives the segment under way its name, so that index lines can be written. */
  async closeSegment(): Promise<void> {
    await this.#tail;
    await this.#segments.close();
  }

  /** Resolves when all is durable in the store. */
  async flush(): Promise<void> {
    await this.#tail;
    await this.#segments.flush();
  }

  async #place(batch: EncodeBatch, encoded: EncodedBatch, tally?: Tally): Promise<FrameHandle[]> {
    const handles: FrameHandle[] = [];
    let at = 0;
    for (let i = 0; i < encoded.known.length; i++) {
      const length = encoded.lengths[i] as number;
      const stored = encoded.stored.subarray(at, at + length);
      at += length;
      const raw = batch.frames[i * 2 + 1] as number;
      handles.push(await this.#placeOne(encoded, i, stored, raw, tally));
    }
    encoded.release();
    return handles;
  }

  async #placeOne(
    encoded: EncodedBatch,
    i: number,
    stored: Buffer,
    raw: number,
    tally: Tally | undefined,
  ): Promise<FrameHandle> {
    let known = encoded.known[i] as number;
    // The same frame may have been placed since the thread looked.
    if (known < 0) known = this.table.find(encoded.hashes, i * 32);
    if (known >= 0) return known;
    const place = await this.#segments.add(stored);
    const entry = { ...place, length: stored.length, raw };
    this.newBytes += raw;
    this.placedBytes += stored.length;
    if (tally) {
      tally.newBytes += raw;
      tally.storedBytes += stored.length;
    }
    this.table.add(encoded.hashes, i * 32, entry);
    const number = this.table.find(encoded.hashes, i * 32);
    const handle =
      number >= 0 ? number : { entry, sha256: encoded.hashes.toString('hex', i * 32, i * 32 + 32) };
    const placed = this.#placed.get(place.segment);
    if (placed) placed.push(handle);
    else this.#placed.set(place.segment, [handle]);
    return handle;
  }
}
