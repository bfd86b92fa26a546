import type { FramePool } from '../../codec/pool.ts';
import type { FrameHandle } from '../../repository/frame-handle.ts';
import type { FrameRef } from '../../repository/frame-ref.ts';
import type { FrameWriter, Tally } from '../../repository/frame-writer.ts';
import type { IndexCache } from '../../repository/index-cache.ts';
import type { PendingMember } from '../../repository/index-writer.ts';
import { VolumeIndex } from '../../repository/volume-index.ts';
import { VolumeDigest } from '../../tar/digest.ts';
import { BLOCK } from '../../tar/header.ts';
import { pathHash } from '../../tar/names.ts';
import type { BatchReply, HashFrom } from '../read/messages.ts';
import { freeSlab, type SlabMemory } from '../read/slabs.ts';
import type { ReusedRuns } from './parent-runs.ts';

/** Lines of an index that may wait for their segment's name before the segment is closed early: they are held in memory. */
const MAX_WAITING = 50_000;

export interface IndexerOptions {
  volume: string;
  pool: FramePool;
  writer: FrameWriter;
  memory: SlabMemory;
  /** What stands in the gaps of what is read. */
  reused: ReusedRuns | undefined;
  /** Keeps the index on this host. */
  cache: IndexCache | undefined;
}

/** Joins what the reading thread tells with where the frames were stored: the index of one volume grows. */
export class VolumeIndexer {
  readonly index: VolumeIndex;
  readonly digest = new VolumeDigest();
  /** What this volume adds to the store, index included. */
  readonly tally: Tally = { newBytes: 0, storedBytes: 0 };
  readonly #writer: FrameWriter;
  readonly #pool: FramePool;
  readonly #stream: number;
  readonly #memory: SlabMemory;
  readonly #frames: FrameHandle[][] = [];
  #open: PendingMember | undefined;
  /** True where a member was delivered as another than was listed. */
  suspect = false;
  #tail: Promise<void> = Promise.resolve();
  #fail!: (error: unknown) => void;
  readonly #reused: ReusedRuns | undefined;
  /** Rejects when storing failed. */
  readonly failed: Promise<never>;

  constructor({ volume, writer, pool, memory, reused, cache }: IndexerOptions) {
    this.#writer = writer;
    this.#pool = pool;
    this.#stream = pool.nextStream();
    this.#memory = memory;
    this.#reused = reused;
    this.failed = new Promise((_, reject) => {
      this.#fail = reject;
    });
    this.failed.catch(() => {});
    this.index = new VolumeIndex({
      volume,
      writer,
      pathHash,
      onMember: (member) => this.digest.add(member),
      onFailure: this.#fail,
      cache,
      tally: this.tally,
    });
  }

  batch(batch: BatchReply): void {
    const bytes = new Uint8Array(this.#memory.slabs[batch.slab] as SharedArrayBuffer);
    const placed = this.#writer.write({ bytes, frames: batch.frames }, this.tally);
    const digested = this.#digestsOf(batch, bytes);
    digested.catch(this.#fail);
    this.#tail = this.#tail.then(async () => {
      const [handles, digests] = await Promise.all([placed, digested]);
      freeSlab(this.#memory, batch.slab);
      this.#take(batch, handles, digests);
      await this.index.lines.flush();
      if (this.index.lines.waiting > MAX_WAITING) await this.#writer.closeSegment();
    });
    this.#tail.catch(this.#fail);
  }

  /** Of contents that end in the batch: their frames are hashed as they pass by. */
  async #digestsOf({ frames, contents }: BatchReply, bytes: Uint8Array): Promise<string[]> {
    if (contents.length === 0) return [];
    return this.#pool.digest({ stream: this.#stream, bytes, frames, contents });
  }

  #take(batch: BatchReply, handles: FrameHandle[], digests: string[]): void {
    this.#remember(batch.firstFrame, handles);
    const hashOf = ({ inFrame, cut }: HashFrom) => {
      if (inFrame !== undefined) return this.#hashOf(inFrame);
      return cut ? digests.shift() : undefined;
    };
    for (const item of batch.items) {
      if (typeof item === 'number') {
        this.index.lines.frame(handles[item] as FrameHandle);
      } else if ('upTo' in item) {
        this.#takeOver(item.upTo);
      } else if ('member' in item) {
        if (item.member.suspect) this.suspect = true;
        const pending: PendingMember = { member: item.member, ready: item.done };
        const sha256 = hashOf(item);
        if (sha256 !== undefined) item.member.sha256 = sha256;
        if (!item.done) this.#open = pending;
        this.index.lines.member(pending);
      } else {
        this.#complete(item.span, hashOf(item) ?? item.sha256);
      }
    }
  }

  #takeOver(upTo: number): void {
    const reused = this.#reused;
    if (reused) this.index.lines.take(() => reused.upTo(upTo));
  }

  #complete(span: number, sha256: string | undefined): void {
    const pending = this.#open;
    if (!pending) return;
    pending.member.span = span;
    if (sha256 !== undefined) pending.member.sha256 = sha256;
    pending.ready = true;
    this.#open = undefined;
  }

  /** A member's content frame is in its own batch or one of the two before: content up to 1 MiB is one frame. */
  #remember(first: number, handles: FrameHandle[]): void {
    this.#frames.push(Object.assign(handles, { first }));
    if (this.#frames.length > 3) this.#frames.shift();
  }

  #hashOf(frame: number): string {
    for (const handles of this.#frames) {
      const { first } = handles as FrameHandle[] & { first: number };
      const handle = handles[frame - first];
      if (handle === undefined) continue;
      return typeof handle === 'number' ? this.#writer.table.hashOf(handle).toString('hex') : handle.sha256;
    }
    throw new Error(`frame ${frame} is not at hand`);
  }

  /** Nothing is read: all is taken over, and the tar ends. */
  takeAll(): void {
    this.#takeOver(Number.MAX_SAFE_INTEGER);
    const bytes = Buffer.alloc(2 * BLOCK);
    const placed = this.#writer.write({ bytes, frames: Uint32Array.of(0, bytes.length) }, this.tally);
    this.#tail = placed.then(([end]) => this.index.lines.frame(end as FrameHandle));
    this.#tail.catch(this.#fail);
  }

  /** Writes the rest of the index; its frames, in order. */
  async finish(): Promise<FrameRef[]> {
    await this.#tail;
    return this.index.finish();
  }
}
