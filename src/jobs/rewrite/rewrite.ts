import { createFramePool, type FramePool } from '../../codec/pool.ts';
import { FrameTable } from '../../core/frame-table.ts';
import { condemn } from '../../repository/condemned.ts';
import type { FrameRef } from '../../repository/frame-ref.ts';
import { FrameWriter } from '../../repository/frame-writer.ts';
import type { IndexLine } from '../../repository/index-lines.ts';
import { manifestKey, type SnapshotName } from '../../repository/keys.ts';
import { encodeManifest, type Manifest, type ManifestVolume } from '../../repository/manifest.ts';
import type { Repository } from '../../repository/repository.ts';
import type { Session } from '../../repository/session.ts';
import type { JobEnvironment } from '../environment.ts';
import { type RawFrames, transferVolume } from '../transfer.ts';

export interface RewriteOptions {
  action: 'rewrite' | 'repair';
  /** True for segments that the new snapshot must not need. */
  leaves(segment: string): boolean;
  /** The index of a volume as it is. */
  lines(volume: ManifestVolume): AsyncIterable<IndexLine>;
  /** Raw bytes of frames in segments that are left. */
  fetch(refs: readonly FrameRef[]): AsyncIterable<RawFrames>;
}

/**
 * Stores frames of snapshots anew and publishes their manifests again, with the same ids, digests and content: so a prune
 * empties mostly dead segments, so a repair leaves damaged ones. Each frame is stored once, whatever snapshots have it.
 */
export class Rewriter {
  readonly #env: JobEnvironment;
  readonly #repository: Repository;
  readonly #session: Session;
  readonly #options: RewriteOptions;
  readonly #pool: FramePool;
  readonly #writer: FrameWriter;

  constructor(env: JobEnvironment, repository: Repository, session: Session, options: RewriteOptions) {
    this.#env = env;
    this.#repository = repository;
    this.#session = session;
    this.#options = options;
    const table = FrameTable.create();
    this.#pool = createFramePool({ table: table.shared });
    const { signal, parallel } = env;
    this.#writer = new FrameWriter({
      store: repository.store,
      pool: this.#pool,
      table,
      signal,
      ...(parallel === undefined ? {} : { parallel }),
    });
  }

  /** Stored bytes of what was written so far. */
  get storedBytes(): number {
    return this.#writer.storedBytes;
  }

  /**
   * Rewrites one snapshot. `standing` is its manifest as it lies there, if it can be read; `manifest` is what to go by. Answers
   * with false where the snapshot is another one by now: then nothing was changed.
   */
  async run(name: SnapshotName, standing: Buffer | undefined, manifest: Manifest): Promise<boolean> {
    const volumes: ManifestVolume[] = [];
    for (const volume of manifest.volumes) volumes.push(await this.#volume(volume));
    await this.#writer.flush();
    return publishAgain(
      this.#repository,
      this.#session,
      name,
      standing,
      { ...manifest, volumes },
      this.#env.signal,
    );
  }

  async close(): Promise<void> {
    await this.#pool.close();
  }

  async #volume(volume: ManifestVolume): Promise<ManifestVolume> {
    const { leaves, lines, fetch, action } = this.#options;
    if (!volume.segments.some(leaves)) return volume;
    for (const ref of volume.index) if (!leaves(ref[0])) this.#writer.addKnown(ref);
    const { index, segments } = await transferVolume(volume, {
      writer: this.#writer,
      emit: this.#env.emit,
      action,
      lines: lines(volume),
      known: (ref) => (leaves(ref[0]) ? undefined : this.#handleOf(ref)),
      fetch,
    });
    return { ...volume, index, segments };
  }

  #handleOf([segment, offset, length, raw, sha256]: FrameRef) {
    return { entry: { segment: this.#writer.names.numberOf(segment), offset, length, raw }, sha256 };
  }
}

/**
 * Puts a manifest in the place of the one that stands, of which a copy goes to `condemned/` first: whoever reads by the old
 * one finds what that names for as long as the grace. Checked before and after, like a commit; where the second check
 * fails the old manifest comes back, since what it needs still stands.
 */
export async function publishAgain(
  repository: Repository,
  session: Session,
  name: SnapshotName,
  standing: Buffer | undefined,
  manifest: Manifest,
  signal: AbortSignal,
): Promise<boolean> {
  signal.throwIfAborted();
  const { store } = repository;
  const key = manifestKey(name.source, name.id);
  const needed = new Set(manifest.volumes.flatMap((volume) => volume.segments));
  const bytes = await encodeManifest(manifest);
  await session.checkSegments(needed);
  if (standing) {
    const condemned = await condemn(store, name);
    if (!condemned?.equals(standing)) return false;
  }
  await store.put(key, bytes);
  try {
    await session.checkSegments(needed);
  } catch (error) {
    if (standing) await store.put(key, standing);
    else await store.delete(key);
    throw error;
  }
  return true;
}
