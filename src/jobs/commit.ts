import { isVolbakError, messageOf, VolbakError } from '../core/errors.ts';
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
  try {
    // A put that failed may have been carried out all the same: then it is taken back, too.
    await repository.commit(manifest);
    await session.checkSegments(needed);
  } catch (error) {
    await withdraw(repository, manifest, error);
    throw error;
  }
}

/** Takes a manifest back; where that is forbidden, the error says that the snapshot must not be relied on. */
async function withdraw(repository: Repository, manifest: Manifest, why: unknown): Promise<void> {
  try {
    await repository.withdraw(manifest);
  } catch (error) {
    // Where the store is gone altogether, its own error says more.
    if (!isVolbakError(why, 'REPOSITORY_BUSY')) return;
    throw new VolbakError(
      'REPOSITORY_BUSY',
      `snapshot ${manifest.id} may miss segments (${messageOf(why)}), and it could not be taken back: ${messageOf(error)}`,
      {
        hint: 'Run the backup again, then `volbak verify`, and remove that snapshot if it is damaged.',
        cause: why,
      },
    );
  }
}
