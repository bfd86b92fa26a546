/** How much a snapshot holds. */
export interface Extent {
  id: string;
  entries: number;
  tarBytes: number;
}

/**
 * Says how the newest snapshot of a source shrank by more than half against the one before; undefined where it did not.
 * That may be what an accident looks like: the older snapshots are then the last ones with the data.
 */
export function describeShrinking(
  newest: Extent | undefined,
  before: Omit<Extent, 'id'> | undefined,
): string | undefined {
  if (!newest || !before) return undefined;
  for (const [what, noun] of [
    ['entries', 'files'],
    ['tarBytes', 'bytes'],
  ] as const) {
    if (newest[what] * 2 < before[what])
      return `snapshot ${newest.id} holds ${newest[what]} ${noun}, less than half of the ${before[what]} before`;
  }
  return undefined;
}
