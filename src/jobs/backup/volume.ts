import { printable } from '../../core/bytes.ts';
import { collectYoungGarbage } from '../../core/collect-garbage.ts';
import type { EventSink } from '../../core/events.ts';
import type { Attachment } from '../../engine/attachment.ts';
import type { SourceVolume } from '../../engine/source.ts';
import type { FrameHandle } from '../../repository/frame-handle.ts';
import type { FrameRef } from '../../repository/frame-ref.ts';
import type { FrameWriter } from '../../repository/frame-writer.ts';
import type { PendingMember } from '../../repository/index-writer.ts';
import type { ManifestVolume, ManifestWarning } from '../../repository/manifest.ts';
import { VolumeIndex } from '../../repository/volume-index.ts';
import { VolumeDigest } from '../../tar/digest.ts';
import { pathHash } from '../../tar/names.ts';
import type { EngineContext } from '../engine-context.ts';
import type { Listing } from '../read/list.ts';
import { type ReaderBatch, type ReadResult, readVolume } from '../read/read.ts';
import { createSlabs, freeSlab, type SlabMemory } from '../read/slabs.ts';

export interface VolumeBackup {
  volume: ManifestVolume;
  warnings: ManifestWarning[];
  /** False where files changed, vanished or could not be read. */
  complete: boolean;
}

export interface VolumeBackupOptions {
  ctx: EngineContext;
  writer: FrameWriter;
  emit: EventSink;
  /** Called when all was read, before the rest is stored. */
  onRead?(): Promise<void>;
}

/** Lines of an index that may wait for their segment's name before the segment is closed early. */
const MAX_WAITING = 2_000_000;

/** Joins what the reading thread tells with where the frames were stored: the index of one volume grows. */
class VolumeIndexer {
  readonly index: VolumeIndex;
  readonly digest = new VolumeDigest();
  readonly #writer: FrameWriter;
  readonly #memory: SlabMemory;
  readonly #frames: FrameHandle[][] = [];
  #open: PendingMember | undefined;
  #tail: Promise<void> = Promise.resolve();
  #fail!: (error: unknown) => void;
  /** Rejects when storing failed. */
  readonly failed: Promise<never>;
  frameCount = 0;

  constructor(volume: string, writer: FrameWriter, memory: SlabMemory) {
    this.#writer = writer;
    this.#memory = memory;
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
    });
  }

  batch(batch: ReaderBatch): void {
    const bytes = new Uint8Array(this.#memory.slabs[batch.slab] as SharedArrayBuffer);
    const placed = this.#writer.write({ bytes, frames: batch.frames });
    this.#tail = this.#tail.then(async () => {
      const handles = await placed;
      freeSlab(this.#memory, batch.slab);
      collectYoungGarbage();
      this.#take(batch, handles);
      this.index.lines.flush();
      if (this.index.lines.waiting > MAX_WAITING) await this.#writer.closeSegment();
    });
    this.#tail.catch(this.#fail);
  }

  #take(batch: ReaderBatch, handles: FrameHandle[]): void {
    this.#remember(batch.firstFrame, handles);
    this.frameCount += handles.length;
    for (const item of batch.items) {
      if (typeof item === 'number') {
        this.index.lines.frame(handles[item] as FrameHandle);
      } else if ('member' in item) {
        const pending: PendingMember = { member: item.member, ready: item.done };
        if (item.inFrame !== undefined) item.member.sha256 = this.#hashOf(item.inFrame);
        if (!item.done) this.#open = pending;
        this.index.lines.member(pending);
      } else {
        this.#complete(item);
      }
    }
  }

  #complete(item: { sha256?: string; inFrame?: number; span: number }): void {
    const pending = this.#open;
    if (!pending) return;
    pending.member.span = item.span;
    const sha256 = item.inFrame === undefined ? item.sha256 : this.#hashOf(item.inFrame);
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

  /** Writes the rest of the index; its frames, in order. */
  async finish(): Promise<FrameRef[]> {
    await this.#tail;
    return this.index.finish();
  }
}

/** Reads one listed volume into the repository: frames first, its index after them. */
export async function backupVolume(
  volume: SourceVolume,
  attachment: Attachment,
  listing: Listing,
  { ctx, writer, emit, onRead }: VolumeBackupOptions,
): Promise<VolumeBackup> {
  const path = attachment.paths.get(volume.name) as string;
  const before = { new: writer.newBytes, stored: writer.placedBytes };
  const memory = createSlabs();
  const indexer = new VolumeIndexer(volume.name, writer, memory);
  const result = await readVolume(ctx, attachment, path, listing, {
    memory,
    failed: indexer.failed,
    onBatch: (batch) => {
      indexer.batch(batch);
      emit({
        event: 'progress',
        volume: volume.name,
        action: 'read',
        done: batch.bytes,
        total: listing.bytes,
      });
    },
  });
  await onRead?.();
  const index = await Promise.race([indexer.finish(), indexer.failed]);
  return describe(volume, listing, result, {
    index,
    entries: indexer.index.lines.entries,
    tarBytes: indexer.index.lines.tarBytes,
    segments: indexer.index.segments(index),
    frames: indexer.frameCount,
    digest: indexer.digest.digest(),
    newBytes: writer.newBytes - before.new,
    storedBytes: writer.placedBytes - before.stored,
  });
}

type Stored = Pick<
  ManifestVolume,
  'index' | 'entries' | 'tarBytes' | 'segments' | 'frames' | 'digest' | 'newBytes' | 'storedBytes'
>;

/** Warnings that a manifest names; what is beyond is counted. */
const MAX_WARNINGS = 1000;

function describe(source: SourceVolume, listing: Listing, result: ReadResult, stored: Stored): VolumeBackup {
  const warnings: ManifestWarning[] = result.complaints.map(({ path, message }) => ({
    message,
    volume: source.name,
    path: printable(path),
  }));
  for (const complaint of listing.complaints)
    warnings.push({ message: printable(complaint), volume: source.name });
  const kept = warnings.slice(0, MAX_WARNINGS);
  if (warnings.length > MAX_WARNINGS) {
    kept.push({ message: `and ${warnings.length - MAX_WARNINGS} more warnings`, volume: source.name });
  }
  const suspects = result.complaints.map(({ path }) => Buffer.from(path, 'latin1').toString('base64'));
  return {
    volume: {
      name: source.name,
      anonymous: source.anonymous,
      destinations: source.destinations,
      ...(source.subpath === undefined ? {} : { subpath: source.subpath }),
      ...(source.bind === undefined ? {} : { bind: true }),
      driver: source.driver,
      driverOpts: source.driverOpts,
      maskedOpts: source.maskedOpts,
      labels: source.labels,
      fsType: listing.fsType,
      listed: listing.started.toISOString(),
      sockets: listing.sockets,
      excluded: listing.excluded,
      readBytes: result.bytes,
      suspects,
      ...stored,
    },
    warnings: kept,
    complete: listing.complaints.length === 0 && result.complaints.every(({ kind }) => kind === 'warning'),
  };
}
