import type { Extent } from '../core/shrunk.ts';
import type { Manifest } from '../repository/manifest.ts';

export function extentOf({ id, volumes }: Manifest): Extent {
  return {
    id,
    entries: volumes.reduce((sum, volume) => sum + volume.entries, 0),
    tarBytes: volumes.reduce((sum, volume) => sum + volume.tarBytes, 0),
  };
}
