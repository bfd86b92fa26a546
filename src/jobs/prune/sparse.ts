import type { FetchOptions } from '../../repository/fetch.ts';
import type { FrameRef } from '../../repository/frame-ref.ts';
import { readFrameRefs } from '../../repository/index-reader.ts';
import type { Manifest } from '../../repository/manifest.ts';
import { segmentHeader } from '../../repository/segments.ts';
import { LiveFrames } from './live-frames.ts';
import type { SegmentObject } from './look.ts';

export interface SparseSegment {
  name: string;
  size: number;
  /** Stored bytes of frames that snapshots need. */
  live: number;
}

/** Less than this is not worth new indexes. */
const MIN_DEAD = 16 * 1024;

/**
 * Segments of which snapshots need less than half. Reads the indexes of all snapshots; a frame of an index that several have is
 * read once.
 */
export async function sparseSegments(
  manifests: AsyncIterable<Manifest>,
  segments: readonly SegmentObject[],
  fetch: FetchOptions,
): Promise<SparseSegment[]> {
  const numbers = new Map(segments.map(({ name }, number) => [name, number]));
  const frames = new LiveFrames();
  const needed = new Set<number>();
  const count = ([segment, offset, length]: FrameRef) => {
    const number = numbers.get(segment);
    if (number === undefined) return;
    needed.add(number);
    frames.add(number, offset, length);
  };
  const seen = new Set<string>();
  for await (const manifest of manifests) {
    for (const { index } of manifest.volumes) {
      const fresh = index.filter(([, , , , sha256]) => !seen.has(sha256));
      for (const ref of index) {
        seen.add(ref[4]);
        count(ref);
      }
      for await (const ref of readFrameRefs(fresh, fetch)) count(ref);
    }
  }
  const header = segmentHeader().length;
  return segments.flatMap(({ name, size }, number) => {
    const live = frames.liveBytes(number);
    const dead = size - header - live;
    const sparse = needed.has(number) && frames.tracks(number) && dead > live && dead >= MIN_DEAD;
    return sparse ? [{ name, size, live }] : [];
  });
}
