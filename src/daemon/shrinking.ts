import { describeShrinking, type Extent } from '../core/shrunk.ts';
import type { JobState } from '../schedule/types.ts';

/** A snapshot is compared with so many before it. */
const REMEMBERED = 5;

/** A snapshot that a run made. */
export interface Made extends Extent {
  source: string;
}

type Size = Omit<Extent, 'id'>;

interface Told {
  id: string;
  source: string;
  /** Of a capture. */
  bytes?: number;
  volumes?: Size[];
}

/** Snapshots that the summary of a backup, or of a capture, tells of. */
export function snapshotsOf(summary: Record<string, unknown> | undefined): Made[] {
  const told = [summary?.snapshots ?? summary?.snapshot ?? []].flat() as Told[];
  return told.map(({ id, source, bytes = 0, volumes }) => {
    const parts = volumes ?? [{ entries: 1, tarBytes: bytes }];
    const sum = (key: keyof Size) => parts.reduce((total, part) => total + part[key], 0);
    return { id, source, entries: sum('entries'), tarBytes: sum('tarBytes') };
  });
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor((sorted.length - 1) / 2)] ?? 0;
}

/**
 * Compares new snapshots with those before them, which it keeps in the job's state. Answers with those that are much
 * smaller, and were not the last time.
 */
export function noticeShrinking(
  state: Pick<JobState, 'extents' | 'shrunk'>,
  made: readonly Made[],
): string[] {
  const found: string[] = [];
  for (const { id, source, entries, tarBytes } of made) {
    const before = state.extents?.[source] ?? [];
    const usual = { entries: median(before.map(([n]) => n)), tarBytes: median(before.map(([, n]) => n)) };
    const text = before.length === 0 ? undefined : describeShrinking({ id, entries, tarBytes }, usual);
    const shrunk = new Set(state.shrunk);
    if (text !== undefined && !shrunk.has(source)) found.push(`${source}: ${text}`);
    if (text === undefined) shrunk.delete(source);
    else shrunk.add(source);
    state.shrunk = [...shrunk];
    state.extents = {
      ...state.extents,
      [source]: [...before, [entries, tarBytes] as const].slice(-REMEMBERED),
    };
  }
  return found;
}
