import type { Manifest } from '../repository/manifest.ts';
import type { Repository } from '../repository/repository.ts';
import type { Session } from '../repository/session.ts';

/**
 * The manifest last, between two looks at whether all it names still stands (format.md, "Commit"). What stands in the
 * way is raised, and then the snapshot does not exist.
 */
export async function commitManifest(
  repository: Repository,
  manifest: Manifest,
  session: Session,
  signal: AbortSignal,
): Promise<void> {
  signal.throwIfAborted();
  const needed = new Set(manifest.volumes.flatMap((volume) => volume.segments));
  await session.checkSegments(needed);
  await repository.commit(manifest);
  try {
    await session.checkSegments(needed);
  } catch (error) {
    await repository.withdraw(manifest);
    throw error;
  }
}
