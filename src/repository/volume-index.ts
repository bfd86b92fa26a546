import type { IndexMember } from '../core/member.ts';
import type { FrameHandle } from './frame-handle.ts';
import type { FrameRef } from './frame-ref.ts';
import type { FrameWriter, Tally } from './frame-writer.ts';
import type { IndexCache } from './index-cache.ts';
import { IndexWriter } from './index-writer.ts';

export interface VolumeIndexOptions {
  volume: string;
  writer: FrameWriter;
  pathHash(path: string): number;
  onMember(member: IndexMember): void;
  /** Storing a frame of the index failed. */
  onFailure(error: unknown): void;
  /** Keeps the frames of the index for the next backup. */
  cache?: IndexCache | undefined;
  /** Counts what the index adds to the store. */
  tally?: Tally;
}

/** Frames of the index on their way to the writer at once; each holds its lines in memory. */
const MAX_UNDER_WAY = 16;

/** The index of one volume together with where its own frames are stored. */
export class VolumeIndex {
  readonly lines: IndexWriter;
  readonly #writer: FrameWriter;
  readonly #frames: Promise<FrameHandle[]>[] = [];
  readonly #tally: Tally | undefined;
  #underWay = 0;
  #ended: Promise<void> | undefined;

  constructor({ volume, writer, pathHash, onMember, onFailure, cache, tally }: VolumeIndexOptions) {
    this.#writer = writer;
    this.#tally = tally;
    this.lines = new IndexWriter({
      volume,
      table: writer.table,
      names: writer.names,
      pathHash,
      emit: (raw) => this.#write(raw, onFailure, cache),
      onMember,
    });
  }

  #write(raw: Buffer, onFailure: (error: unknown) => void, cache?: IndexCache): Promise<void> | undefined {
    // The writer takes the memory over.
    const kept = cache && Buffer.from(raw);
    const batch = { bytes: raw, frames: Uint32Array.of(0, raw.length) };
    const written = this.#writer.write(batch, this.#tally);
    this.#frames.push(written);
    this.#underWay++;
    const ended = written
      .then(([handle]) => (kept ? cache.keepFrame(this.#hashOf(handle), kept) : undefined))
      .then(() => void this.#underWay--, onFailure);
    this.#ended = ended;
    return this.#underWay > MAX_UNDER_WAY ? ended : undefined;
  }

  #hashOf(handle: FrameHandle | undefined): string {
    if (typeof handle === 'number') return this.#writer.table.hashOf(handle).toString('hex');
    return handle?.sha256 ?? '';
  }

  /** Writes what is left of the index; its frames in order. All frames of the volume must have been written. */
  async finish(): Promise<FrameRef[]> {
    await this.#writer.closeSegment();
    await this.lines.finish();
    const handles = (await Promise.all(this.#frames)).flat();
    await this.#ended;
    await this.#writer.closeSegment();
    return handles.map((handle) => this.#writer.refOf(handle));
  }

  /** Names of all segments that the volume needs, sorted. */
  segments(index: readonly FrameRef[]): string[] {
    return [...new Set([...this.lines.segments, ...index.map(([segment]) => segment)])].sort();
  }
}
