import type { SnapshotName } from '../repository/keys.ts';
import type { Manifest, ManifestVolume } from '../repository/manifest.ts';
import type { Repository } from '../repository/repository.ts';
import type { Runtime } from './runtime.ts';

/** The repository and the one snapshot that a reference means. */
export async function openSnapshot(
  runtime: Runtime,
  reference: string,
): Promise<{ repository: Repository; name: SnapshotName; manifest: Manifest }> {
  const { resolveReference } = await import('../repository/references.ts');
  const repository = await runtime.repository();
  const name = resolveReference(reference, await repository.snapshotNames());
  return { repository, name, manifest: await repository.manifest(name) };
}

/** Runs `use` with threads to decode frames, and ends them. */
export async function withFetch<T>(
  runtime: Runtime,
  repository: Repository,
  use: (fetch: import('../repository/fetch.ts').FetchOptions) => Promise<T>,
): Promise<T> {
  const { createFramePool } = await import('../codec/pool.ts');
  const pool = createFramePool();
  try {
    return await use({ store: repository.store, pool, signal: runtime.signal });
  } finally {
    await pool.close();
  }
}

/** A volume's name with where it was mounted. */
export function describeVolume(volume: ManifestVolume): string {
  return volume.destinations.length === 0
    ? volume.name
    : `${volume.name} (${volume.destinations.join(', ')})`;
}
