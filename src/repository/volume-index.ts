import type { IndexMember } from '../core/member.ts';
import type { FrameHandle } from './frame-handle.ts';
import type { FrameRef } from './frame-ref.ts';
import type { FrameWriter } from './frame-writer.ts';
import { IndexWriter } from './index-writer.ts';

export interface VolumeIndexOptions {
  volume: string;
  writer: FrameWriter;
  pathHash(path: string): number;
  onMember(member: IndexMember): void;
  /** Storing a frame of the index failed. */
  onFailure(error: unknown): void;
}

/** Frames of the index on their way to the writer at once; each holds its lines in memory. */
const MAX_UNDER_WAY = 16;

/** The index of one volume together with where its own frames are stored. */
export class VolumeIndex {
  readonly lines: IndexWriter;
  readonly #writer: FrameWriter;
  readonly #frames: Promise<FrameHandle[]>[] = [];

  constructor({ volume, writer, pathHash, onMember, onFailure }: VolumeIndexOptions) {
    this.#writer = writer;
    let underWay = 0;
    const emit = (raw: Buffer) => {
      const written = writer.write({ bytes: raw, frames: Uint32Array.of(0, raw.length) });
      underWay++;
      const ended = written.then(
        () => void underWay--,
        (error: unknown) => onFailure(error),
      );
      this.#frames.push(written);
      return underWay > MAX_UNDER_WAY ? ended : undefined;
    };
    this.lines = new IndexWriter({
      volume,
      table: writer.table,
      names: writer.names,
      pathHash,
      emit,
      onMember,
    });
  }

  /** Writes what is left of the index; its frames in order. All frames of the volume must have been written. */
  async finish(): Promise<FrameRef[]> {
    await this.#writer.closeSegment();
    await this.lines.finish();
    const handles = (await Promise.all(this.#frames)).flat();
    await this.#writer.closeSegment();
    return handles.map((handle) => this.#writer.refOf(handle));
  }

  /** Names of all segments that the volume needs, sorted. */
  segments(index: readonly FrameRef[]): string[] {
    return [...new Set([...this.lines.segments, ...index.map(([segment]) => segment)])].sort();
  }
}
