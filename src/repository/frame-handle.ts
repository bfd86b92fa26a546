import type { FrameEntry, FrameTable } from '../core/frame-table.ts';
import type { FrameRef } from './frame-ref.ts';
import type { SegmentNames } from './segments.ts';

/** A frame as a writer knows it: its number in the table, or itself where the table was full. */
export type FrameHandle = number | { entry: FrameEntry; sha256: string };

/** The frame's reference; undefined while its segment is still growing and has no name. */
export function resolveHandle(
  handle: FrameHandle,
  table: FrameTable,
  names: SegmentNames,
): FrameRef | undefined {
  const entry = typeof handle === 'number' ? table.entry(handle) : handle.entry;
  const name = names.nameOf(entry.segment);
  if (name === undefined) return undefined;
  const sha256 = typeof handle === 'number' ? table.hashOf(handle).toString('hex') : handle.sha256;
  return [name, entry.offset, entry.length, entry.raw, sha256];
}
