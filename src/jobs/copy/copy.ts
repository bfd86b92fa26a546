import { isVolbakError } from '../../core/errors.ts';
import type { FetchOptions } from '../../repository/fetch.ts';
import { readIndex } from '../../repository/index-reader.ts';
import type { SnapshotName } from '../../repository/keys.ts';
import type { Manifest, ManifestVolume } from '../../repository/manifest.ts';
import { formatSource } from '../../repository/references.ts';
import type { Repository } from '../../repository/repository.ts';
import { Session, usableSegments } from '../../repository/session.ts';
import { findParents, loadParentFrames } from '../backup/parents.ts';
import { commitManifest } from '../commit.ts';
import type { JobEnvironment } from '../environment.ts';
import { type FrameStore, openFrameStore } from '../frame-store.ts';
import { fetchInOrder, transferVolume } from '../transfer.ts';

export interface CopiedSnapshot {
  id: string;
  source: string;
  /** False where the target had it already. */
  copied: boolean;
  newBytes: number;
  storedBytes: number;
}

/** Copies snapshots to another repository: a backup whose source is a repository. Ids and digests stay the same. */
export class CopyJob {
  readonly #env: JobEnvironment;
  readonly #from: Repository;
  readonly #to: Repository;
  readonly #frames: FrameStore;
  #present: Set<string> | undefined;

  constructor(env: JobEnvironment, from: Repository, to: Repository) {
    this.#env = env;
    this.#from = from;
    this.#to = to;
    this.#frames = openFrameStore(env, to);
  }

  async close(): Promise<void> {
    await this.#frames.close();
  }

  /** Copies one snapshot unless the target has it. */
  async run(name: SnapshotName, targetNames: readonly SnapshotName[]): Promise<CopiedSnapshot> {
    const source = formatSource(name.source);
    if (targetNames.some((other) => other.id === name.id && formatSource(other.source) === source)) {
      return { id: name.id, source, copied: false, newBytes: 0, storedBytes: 0 };
    }
    const now = () => this.#env.clock.now().getTime();
    const reading = await Session.begin({ store: this.#from.store, kind: 'copy', uses: [name], now }).catch(
      (error: unknown) => {
        // A repository that may only be read can be copied from.
        if (isVolbakError(error, 'STORE_DENIED')) return undefined;
        throw error;
      },
    );
    try {
      return await this.#copy(name, targetNames, now);
    } finally {
      await reading?.end();
    }
  }

  async #copy(
    name: SnapshotName,
    targetNames: readonly SnapshotName[],
    now: () => number,
  ): Promise<CopiedSnapshot> {
    const manifest = await this.#from.manifest(name);
    const parents = await findParents(
      (parent) => this.#to.manifest(parent),
      targetNames,
      { engineId: manifest.engine.id, source: name.source, volumes: manifest.volumes.map((v) => v.name) },
      this.#env.emit,
    );
    const session = await Session.begin({ store: this.#to.store, kind: 'copy', uses: parents.names, now });
    try {
      await this.#loadKnown(parents.byVolume);
      const volumes: ManifestVolume[] = [];
      for (const volume of manifest.volumes) volumes.push(await this.#copyVolume(volume));
      await this.#frames.writer.flush();
      await commitManifest(this.#to, { ...manifest, volumes }, session, this.#env.signal);
      await this.#frames.pending.forget();
      const sum = (key: 'newBytes' | 'storedBytes') => volumes.reduce((total, v) => total + v[key], 0);
      return {
        id: name.id,
        source: formatSource(name.source),
        copied: true,
        newBytes: sum('newBytes'),
        storedBytes: sum('storedBytes'),
      };
    } finally {
      await session.end();
    }
  }

  async #loadKnown(parents: ReadonlyMap<string, Manifest>): Promise<void> {
    const first = this.#present === undefined;
    this.#present = await usableSegments(this.#to.store);
    if (first) await this.#frames.resume(this.#present);
    const fetch = this.#fetchFrom(this.#to);
    for (const [volume, parent] of parents) {
      await loadParentFrames(parent, volume, this.#present, this.#frames.writer, fetch, this.#env.emit);
    }
  }

  #fetchFrom({ store }: Repository): FetchOptions {
    const { signal, readAhead: parallel } = this.#env;
    return { store, pool: this.#frames.pool, signal, ...(parallel === undefined ? {} : { parallel }) };
  }

  async #copyVolume(volume: ManifestVolume): Promise<ManifestVolume> {
    const { writer, table } = this.#frames;
    const before = { new: writer.newBytes, stored: writer.placedBytes };
    const from = this.#fetchFrom(this.#from);
    const { index, segments } = await transferVolume(volume, {
      writer,
      emit: this.#env.emit,
      action: 'copy',
      lines: readIndex(volume.index, from),
      known: (ref) => {
        const known = table.find(Buffer.from(ref[4], 'hex'));
        return known < 0 ? undefined : known;
      },
      fetch: (refs) => fetchInOrder(refs, from),
    });
    return {
      ...volume,
      index,
      segments,
      newBytes: writer.newBytes - before.new,
      storedBytes: writer.placedBytes - before.stored,
    };
  }
}
