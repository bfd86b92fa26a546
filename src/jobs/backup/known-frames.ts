import { messageOf } from '../../core/errors.ts';
import type { FetchOptions } from '../../repository/fetch.ts';
import type { FrameRef } from '../../repository/frame-ref.ts';
import type { SnapshotName } from '../../repository/keys.ts';
import type { Manifest, ManifestVolume } from '../../repository/manifest.ts';
import type { Repository } from '../../repository/repository.ts';
import { usableSegments } from '../../repository/session.ts';
import type { JobEnvironment } from '../environment.ts';
import type { FrameStore } from '../frame-store.ts';
import type { Listing } from '../read/listing.ts';
import { loadParentFrames } from './parents.ts';
import { type Parent, planReuse, type ReusePlan } from './reuse.ts';

/** Below this much to read it does not pay to load what other sources have. */
const OTHERS_PAY_FROM = 4 * 1024 * 1024;
/** Frames loaded of other sources' snapshots: some 30 MB of index. */
const MAX_OTHER_FRAMES = 300_000;

/** A parent and what of it a volume takes over unread. */
export interface Reuse {
  plan: ReusePlan;
  parent: Parent;
}

/** What a backup knows of the frames that the repository has already. */
export class KnownFrames {
  readonly #env: JobEnvironment;
  readonly #repository: Repository;
  readonly #frames: FrameStore;
  readonly #loaded = new Set<string>();
  #present: Set<string> | undefined;
  #others: readonly SnapshotName[] = [];

  constructor(env: JobEnvironment, repository: Repository, frames: FrameStore) {
    this.#env = env;
    this.#repository = repository;
    this.#frames = frames;
  }

  /** To be called within the session that names `others`: what is not in the store now counts as unknown. */
  async begin(others: readonly SnapshotName[]): Promise<void> {
    this.#others = others;
    await this.#frames.cache?.open();
    if (this.#present) return;
    this.#present = await usableSegments(this.#repository.store);
    await this.#frames.resume(this.#present);
  }

  /**
   * Compares a listing with the parent's index; makes the parent's frames known. Undefined where all has to be read: without
   * a parent, with `full`, or where the parent cannot be read, which costs time and space, not the backup.
   */
  async plan(listing: Listing, volumeName: string, manifest: Manifest | undefined, full: boolean) {
    const reuse = await this.#plan(listing, volumeName, manifest, full);
    if ((reuse?.plan.bytes ?? listing.bytes) >= OTHERS_PAY_FROM) await this.#loadOthers();
    return reuse;
  }

  async #plan(
    listing: Listing,
    volumeName: string,
    manifest: Manifest | undefined,
    full: boolean,
  ): Promise<Reuse | undefined> {
    const volume = manifest?.volumes.find(({ name }) => name === volumeName);
    if (!manifest || !volume) return undefined;
    if (full) {
      await this.#load(manifest, volumeName);
      return undefined;
    }
    return this.#reuse(listing, volume, `snapshot ${manifest.id}`);
  }

  /**
   * Compares a listing with what a pass of this run stored of the volume. To be called when all of that pass is durable.
   * Undefined where its index cannot be read: then all is read again.
   */
  planRest(listing: Listing, live: ManifestVolume): Promise<Reuse | undefined> {
    for (const segment of this.#frames.writer.segmentsWritten) this.#present?.add(segment);
    return this.#reuse(listing, live, 'what was read before');
  }

  async #reuse(listing: Listing, volume: ManifestVolume, what: string): Promise<Reuse | undefined> {
    const parent: Parent = {
      volume,
      fetch: this.#fetch,
      present: this.#present ?? new Set(),
      onFrame: (ref: FrameRef) => this.#frames.writer.addKnown(ref),
    };
    try {
      for (const ref of volume.index) if (parent.present.has(ref[0])) parent.onFrame(ref);
      return { plan: await planReuse(listing, parent), parent };
    } catch (error) {
      this.#env.signal.throwIfAborted();
      const message = `${what} cannot be read, so all is read anew: ${messageOf(error)}`;
      this.#env.emit({ event: 'warning', volume: volume.name, message });
      return undefined;
    }
  }

  get #fetch(): FetchOptions {
    const { signal, readAhead: parallel } = this.#env;
    const { store } = this.#repository;
    const { pool, cache } = this.#frames;
    return {
      store,
      pool,
      signal,
      ...(cache ? { cache } : {}),
      ...(parallel === undefined ? {} : { parallel }),
    };
  }

  async #load(manifest: Manifest, volume: string): Promise<void> {
    const which = `${manifest.id} ${volume}`;
    if (this.#loaded.has(which)) return;
    this.#loaded.add(which);
    const { writer } = this.#frames;
    await loadParentFrames(manifest, volume, this.#present ?? new Set(), writer, this.#fetch, this.#env.emit);
  }

  /** Frames of the latest snapshots of other sources, newest first, as many as are worth it. */
  async #loadOthers(): Promise<void> {
    const others = this.#others;
    this.#others = [];
    let left = MAX_OTHER_FRAMES;
    for (const name of others) {
      const manifest = await this.#frames.knownManifest(name).catch(() => undefined);
      for (const volume of manifest?.volumes ?? []) {
        left -= volume.frames;
        if (left < 0) return;
        if (manifest) await this.#load(manifest, volume.name);
      }
    }
  }
}
