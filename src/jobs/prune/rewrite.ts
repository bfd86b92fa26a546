import { createFramePool } from '../../codec/pool.ts';
import { isVolbakError } from '../../core/errors.ts';
import type { FetchOptions } from '../../repository/fetch.ts';
import { readIndex } from '../../repository/index-reader.ts';
import type { Repository } from '../../repository/repository.ts';
import type { Session } from '../../repository/session.ts';
import type { JobEnvironment } from '../environment.ts';
import { handleOf, Rewriter } from '../rewrite/rewrite.ts';
import { fetchInOrder } from '../transfer.ts';
import type { Look } from './look.ts';
import { type SparseSegment, sparseSegments } from './sparse.ts';

export interface Rewritten {
  /** Snapshots whose manifests were published again. */
  snapshots: number;
  /** Mostly dead segments that no snapshot needs any more; a prune after the grace deletes them. */
  segments: number;
  /** Stored bytes of these segments. */
  bytes: number;
  /** Stored bytes of what was written in their place. */
  storedBytes: number;
}

/**
 * Stores the live frames of mostly dead segments anew, so that a later prune can delete those. Deletes nothing. Without a
 * session (dry run) it only says what it would do; then `storedBytes` counts the live frames alone.
 */
export async function rewriteSparse(
  env: JobEnvironment,
  repository: Repository,
  session: Session | undefined,
  look: Look,
  graceMs: number,
): Promise<Rewritten> {
  const pool = createFramePool();
  const { store } = repository;
  const fetch: FetchOptions = { store, pool, signal: env.signal };
  try {
    // A segment that is young may lose more, or belong to a backup that is under way.
    const old = look.segments.filter(({ modified }) => look.now - modified.getTime() >= graceMs);
    const sparse = await sparseSegments(repository.manifests(look.found.snapshots), old, fetch);
    const done = { segments: sparse.length, bytes: sum(sparse, 'size') };
    if (!session || sparse.length === 0) return { ...done, snapshots: 0, storedBytes: sum(sparse, 'live') };
    return { ...done, ...(await rewriteSnapshots(env, repository, session, look, sparse, fetch)) };
  } catch (error) {
    if (!isVolbakError(error, 'INTEGRITY') && !isVolbakError(error, 'SNAPSHOT_NOT_FOUND')) throw error;
    // What cannot be read is verify's business; to rewrite is a convenience.
    env.emit({ event: 'warning', message: `mostly dead segments stay as they are: ${error.message}` });
    return { snapshots: 0, segments: 0, bytes: 0, storedBytes: 0 };
  } finally {
    await pool.close();
  }
}

async function rewriteSnapshots(
  env: JobEnvironment,
  repository: Repository,
  session: Session,
  look: Look,
  sparse: readonly SparseSegment[],
  fetch: FetchOptions,
): Promise<{ snapshots: number; storedBytes: number }> {
  const left = new Set(sparse.map(({ name }) => name));
  const rewriter = new Rewriter(env, repository, session, {
    action: 'rewrite',
    plan(volume, _, writer) {
      if (!volume.segments.some((segment) => left.has(segment))) return undefined;
      // Frames of the index that stay as they are need no other place.
      for (const ref of volume.index) if (!left.has(ref[0])) writer.addKnown(ref);
      return {
        lines: readIndex(volume.index, fetch),
        known: (ref) => (left.has(ref[0]) ? undefined : handleOf(ref, writer)),
        fetch: (refs) => fetchInOrder(refs, fetch),
      };
    },
  });
  let snapshots = 0;
  try {
    for (const name of look.found.snapshots) {
      const { manifest, stored } = await repository.manifestAndBytes(name);
      if (!manifest.volumes.some((volume) => volume.segments.some((segment) => left.has(segment)))) continue;
      if (await rewriter.run(name, stored, manifest)) snapshots++;
    }
    return { snapshots, storedBytes: rewriter.storedBytes };
  } finally {
    await rewriter.close();
  }
}

function sum(segments: readonly SparseSegment[], key: 'size' | 'live'): number {
  return segments.reduce((total, segment) => total + segment[key], 0);
}
