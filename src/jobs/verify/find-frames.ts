import { isVolbakError } from '../../core/errors.ts';
import type { FetchOptions } from '../../repository/fetch.ts';
import type { FrameRef } from '../../repository/frame-ref.ts';
import { readFrameRefs } from '../../repository/index-reader.ts';
import type { Manifest } from '../../repository/manifest.ts';
import type { Repository } from '../../repository/repository.ts';

/**
 * Where a repository has frames, by their SHA-256: looks into the likely snapshots first, then into all others, newest first,
 * until all are found. What cannot be read there is passed over.
 */
export async function findFrames(
  repository: Repository,
  likely: readonly { twin: Manifest | undefined }[],
  wanted: ReadonlySet<string>,
  fetch: FetchOptions,
): Promise<Map<string, FrameRef>> {
  const found = new Map<string, FrameRef>();
  const seen = new Set<string>();
  for await (const manifest of candidates(repository, likely)) {
    if (found.size === wanted.size) break;
    for (const { index } of manifest.volumes) {
      const fresh = index.filter(([, , , , sha256]) => !seen.has(sha256));
      for (const [, , , , sha256] of fresh) seen.add(sha256);
      try {
        for await (const ref of readFrameRefs(fresh, fetch)) if (wanted.has(ref[4])) found.set(ref[4], ref);
      } catch (error) {
        if (!isVolbakError(error, 'INTEGRITY')) throw error;
      }
    }
  }
  return found;
}

async function* candidates(
  repository: Repository,
  likely: readonly { twin: Manifest | undefined }[],
): AsyncGenerator<Manifest> {
  for (const { twin } of likely) if (twin) yield twin;
  for (const name of (await repository.snapshotNames()).reverse()) {
    try {
      yield await repository.manifest(name);
    } catch (error) {
      if (!isVolbakError(error, 'INTEGRITY') && !isVolbakError(error, 'SNAPSHOT_NOT_FOUND')) throw error;
    }
  }
}
