import { createFramePool, type FramePool } from '../../codec/pool.ts';
import { FrameTable } from '../../core/frame-table.ts';
import { condemn } from '../../repository/condemned.ts';
import type { FrameHandle } from '../../repository/frame-handle.ts';
import type { FrameRef } from '../../repository/frame-ref.ts';
import { FrameWriter } from '../../repository/frame-writer.ts';
import type { IndexLine } from '../../repository/index-lines.ts';
import { manifestKey, type SnapshotName } from '../../repository/keys.ts';
import { encodeManifest, type Manifest, type ManifestVolume } from '../../repository/manifest.ts';
import type { Repository } from '../../repository/repository.ts';
import type { Session } from '../../repository/session.ts';
import type { JobEnvironment } from '../environment.ts';
import { type RawFrames, transferVolume } from '../transfer.ts';

/** How one volume is stored anew. */
export interface VolumePlan {
  /** The index to go by. */
  lines: AsyncIterable<IndexLine>;
  /** How the writer knows a frame that stays where it is; undefined for one that is stored anew. */
  known(ref: FrameRef): FrameHandle | undefined;
  /** Raw bytes of frames that are stored anew, in order. */
  fetch(refs: readonly FrameRef[]): AsyncIterable<RawFrames>;
}

export interface RewriteOptions {
  action: 'rewrite' | 'repair';
  /** Undefined for a volume that stays as it is. */
  plan(volume: ManifestVolume, manifest: Manifest, writer: FrameWriter): VolumePlan | undefined;
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

  /** Makes a frame known that lies in the repository, so that it is not stored again. */
  addKnown(ref: FrameRef): void {
    this.#writer.addKnown(ref);
  }

  /**
   * Rewrites one snapshot. `standing` is its manifest as it lies there, if it can be read; `manifest` is what to go by. Answers
   * with false where the snapshot is another one by now: then nothing was changed.
   */
  async run(name: SnapshotName, standing: Buffer | undefined, manifest: Manifest): Promise<boolean> {
    const volumes: ManifestVolume[] = [];
    for (const volume of manifest.volumes) volumes.push(await this.#volume(volume, manifest));
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

  async #volume(volume: ManifestVolume, manifest: Manifest): Promise<ManifestVolume> {
    const { plan, action } = this.#options;
    const planned = plan(volume, manifest, this.#writer);
    if (!planned) return volume;
    const { emit } = this.#env;
    const { index, segments } = await transferVolume(volume, {
      writer: this.#writer,
      emit,
      action,
      ...planned,
    });
    return { ...volume, index, segments };
  }
}

/** A frame that stays where it lies, as a writer's handle. */
export function handleOf([segment, offset, length, raw, sha256]: FrameRef, writer: FrameWriter): FrameHandle {
  return { entry: { segment: writer.names.numberOf(segment), offset, length, raw }, sha256 };
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
