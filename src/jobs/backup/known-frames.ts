import { messageOf } from '../../core/errors.ts';
import type { PulledAhead } from '../../core/pulled-ahead.ts';
import type { FetchOptions } from '../../repository/fetch.ts';
import type { FrameRef } from '../../repository/frame-ref.ts';
import { type IndexRun, readIndexRuns } from '../../repository/index-runs.ts';
import type { SnapshotName } from '../../repository/keys.ts';
import type { Manifest, ManifestVolume } from '../../repository/manifest.ts';
import type { Repository } from '../../repository/repository.ts';
import { usableSegments } from '../../repository/session.ts';
import type { JobEnvironment } from '../environment.ts';
import type { FrameStore } from '../frame-store.ts';
import type { Listing } from '../read/listing.ts';
import { readRunsAhead } from './parent-runs.ts';
import { loadParentFrames } from './parents.ts';
import { type Parent, planReuse, type ReusePlan, unchangedPlan } from './reuse.ts';

/** Below this much to read it does not pay to load what other sources have. */
const OTHERS_PAY_FROM = 4 * 1024 * 1024;
/** Frames loaded of other sources' snapshots: some 30 MB of index. */
const MAX_OTHER_FRAMES = 300_000;

/** A parent and what of it a volume takes over unread. */
export interface Reuse {
  plan: ReusePlan;
  parent: Parent;
  /** The runs of the parent's index, to take over; undefined where the volume is known as a whole. */
  runs: AsyncGenerator<IndexRun[]> | undefined;
}

/** A volume's listing is to be compared with a parent, whose index is read while the volume is being listed. */
export interface Comparison {
  /** `Listing.hash` of a listing that shows that nothing changed: where all is in the store, and the index not seen damaged. */
  known(): string | undefined;
  /** What is taken over unread; undefined where all has to be read. To be called once. */
  plan(listing: Listing): Promise<Reuse | undefined>;
  /** Must be called in the end, planned or not. */
  close(): Promise<void>;
}

/** What a backup knows of the frames that the repository has already. */
export class KnownFrames {
  readonly #env: JobEnvironment;
  readonly #repository: Repository;
  readonly #frames: FrameStore;
  readonly #loaded = new Set<string>();
  #present: Set<string> | undefined;
  #others: readonly SnapshotName[] = [];
  /** Volumes of this source that were found unchanged without a look at their frames. */
  readonly #unread: { manifest: Manifest; volumeName: string }[] = [];

  constructor(env: JobEnvironment, repository: Repository, frames: FrameStore) {
    this.#env = env;
    this.#repository = repository;
    this.#frames = frames;
  }

  /** To be called within the session that names `others`: what is not in the store now counts as unknown. */
  async begin(others: readonly SnapshotName[]): Promise<void> {
    this.#others = others;
    this.#unread.length = 0;
    await this.#frames.cache?.open();
    if (this.#present) return;
    this.#present = await usableSegments(this.#repository.store);
    await this.#frames.resume(this.#present);
  }

  /**
   * Compares with the parent's index; makes the parent's frames known. All has to be read without a parent, with `full`, or
   * where the parent cannot be read, which costs time and space, not the backup.
   */
  compare(volumeName: string, manifest: Manifest | undefined, full: boolean): Comparison {
    const volume = manifest?.volumes.find(({ name }) => name === volumeName);
    const runs = volume && !full ? readRunsAhead(volume.index, this.#fetch) : undefined;
    const listing = volume && this.#isPresent(volume) ? volume.listing : undefined;
    const plan = async (listed: Listing) => {
      if (!manifest || !volume) return undefined;
      if (listed.known) {
        this.#unread.push({ manifest, volumeName });
        return this.#asBefore(listed, volume);
      }
      if (runs && !listed.plain) return this.#reuse(listed, volume, runs, `snapshot ${manifest.id}`);
      await this.#load(manifest, volumeName);
      return undefined;
    };
    return {
      known: () => (runs && !runs.failed ? listing : undefined),
      plan: async (listed) => {
        const reuse = await plan(listed);
        if ((reuse?.plan.bytes ?? listed.bytes) >= OTHERS_PAY_FROM) await this.#loadOthers();
        return reuse;
      },
      close: async () => runs?.close(),
    };
  }

  /**
   * Compares with what a pass of this run stored of the volume. To be called when all of that pass is durable. Where its
   * index cannot be read, all is read again.
   */
  compareRest(live: ManifestVolume): Comparison {
    for (const segment of this.#frames.writer.segmentsWritten) this.#present?.add(segment);
    const runs = readRunsAhead(live.index, this.#fetch);
    const listing = this.#isPresent(live) ? live.listing : undefined;
    const what = 'what was read before';
    return {
      known: () => (runs.failed ? undefined : listing),
      plan: async (listed) => {
        if (listed.known) return this.#asBefore(listed, live);
        return listed.plain ? undefined : this.#reuse(listed, live, runs, what);
      },
      close: () => runs.close(),
    };
  }

  async #reuse(
    listing: Listing,
    volume: ManifestVolume,
    runs: PulledAhead<IndexRun[]>,
    what: string,
  ): Promise<Reuse | undefined> {
    const parent = this.#parent(volume);
    try {
      for (const ref of volume.index) if (parent.present.has(ref[0])) parent.onFrame(ref);
      const plan = await planReuse(listing, parent, runs.items());
      const takesOver = !plan.unchanged && plan.ranges.length > 0;
      const again = takesOver ? runs.again() : undefined;
      if (!again) runs.forget();
      return { plan, parent, runs: again ?? readIndexRuns(volume.index, parent.fetch) };
    } catch (error) {
      this.#env.signal.throwIfAborted();
      const message = `${what} cannot be read, so all is read anew: ${messageOf(error)}`;
      this.#env.emit({ event: 'warning', volume: volume.name, message });
      return undefined;
    }
  }

  /** Neither the volume nor its index is read. */
  #asBefore(listing: Listing, volume: ManifestVolume): Reuse {
    return { plan: unchangedPlan(listing), parent: this.#parent(volume), runs: undefined };
  }

  #parent(volume: ManifestVolume): Parent {
    return {
      volume,
      fetch: this.#fetch,
      present: this.#present ?? new Set(),
      onFrame: (ref: FrameRef) => this.#frames.writer.addKnown(ref),
    };
  }

  #isPresent({ index, segments }: ManifestVolume): boolean {
    return [...index.map(([segment]) => segment), ...segments].every((name) => this.#present?.has(name));
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

  /** Frames of volumes nearby, and of the latest snapshots of other sources, newest first, as many as are worth it. */
  async #loadOthers(): Promise<void> {
    for (const { manifest, volumeName } of this.#unread.splice(0)) await this.#load(manifest, volumeName);
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
