import { isVolbakError, VolbakError } from '../../core/errors.ts';
import type { IndexMember } from '../../core/member.ts';
import { readAhead } from '../../core/read-ahead.ts';
import { type FetchOptions, fetchGroup, groupFrames } from '../../repository/fetch.ts';
import type { FrameHandle } from '../../repository/frame-handle.ts';
import type { FrameRef } from '../../repository/frame-ref.ts';
import { readIndex } from '../../repository/index-reader.ts';
import type { SnapshotName } from '../../repository/keys.ts';
import type { Manifest, ManifestVolume } from '../../repository/manifest.ts';
import { formatSource } from '../../repository/references.ts';
import type { Repository } from '../../repository/repository.ts';
import { presentSegments, Session } from '../../repository/session.ts';
import { VolumeIndex } from '../../repository/volume-index.ts';
import { VolumeDigest } from '../../tar/digest.ts';
import { pathHash } from '../../tar/names.ts';
import { findParents, loadParentFrames } from '../backup/parents.ts';
import { commitManifest } from '../commit.ts';
import type { JobEnvironment } from '../environment.ts';
import { type FrameStore, openFrameStore } from '../frame-store.ts';

export interface CopiedSnapshot {
  id: string;
  source: string;
  /** False where the target had it already. */
  copied: boolean;
  newBytes: number;
  storedBytes: number;
}

/** Part of an index whose frames are fetched together: a frame is a number in `missing`, or known by its handle. */
interface Unit {
  lines: (IndexMember | { missing: number } | { known: FrameHandle })[];
  missing: FrameRef[];
  raw: number;
}

const UNIT_RAW = 4 * 1024 * 1024;
const UNIT_LINES = 8192;

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
    this.#present = await presentSegments(this.#to.store);
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
    const { emit } = this.#env;
    const before = { new: this.#frames.writer.newBytes, stored: this.#frames.writer.placedBytes };
    const digest = new VolumeDigest();
    let fail: (error: unknown) => void = () => {};
    const failed = new Promise<never>((_, reject) => {
      fail = reject;
    });
    failed.catch(() => {});
    const index = new VolumeIndex({
      volume: volume.name,
      writer: this.#frames.writer,
      pathHash,
      onMember: (m) => digest.add(m),
      onFailure: fail,
    });
    emit({
      event: 'volume-start',
      volume: volume.name,
      action: 'copy',
      entries: volume.entries,
      bytes: volume.tarBytes,
    });
    const work = readAhead(this.#units(volume), 3, async (unit) => ({
      unit,
      handles: await this.#store(unit),
    }));
    for await (const { unit, handles } of work) {
      for (const line of unit.lines) {
        if ('missing' in line) index.lines.frame(handles[line.missing] as FrameHandle);
        else if ('known' in line) index.lines.frame(line.known);
        else index.lines.member({ member: line, ready: true });
      }
      await index.lines.flush();
      emit({
        event: 'progress',
        volume: volume.name,
        action: 'copy',
        done: index.lines.tarBytes,
        total: volume.tarBytes,
      });
    }
    const refs = await Promise.race([index.finish(), failed]);
    if (digest.digest() !== volume.digest) {
      throw new VolbakError('INTEGRITY', `the index of volume ${volume.name} is not what its manifest says`, {
        hint: 'Run `volbak verify` on the source.',
      });
    }
    emit({ event: 'volume-done', volume: volume.name, action: 'copy', bytes: volume.tarBytes });
    return {
      ...volume,
      index: refs,
      segments: index.segments(refs),
      newBytes: this.#frames.writer.newBytes - before.new,
      storedBytes: this.#frames.writer.placedBytes - before.stored,
    };
  }

  async *#units(volume: ManifestVolume): AsyncGenerator<Unit> {
    let unit: Unit = { lines: [], missing: [], raw: 0 };
    for await (const line of readIndex(volume.index, this.#fetchFrom(this.#from))) {
      if (line.kind === 'member') unit.lines.push(line.member);
      else if (line.kind === 'frame') this.#addFrame(unit, line.frame);
      if (unit.raw >= UNIT_RAW || unit.lines.length >= UNIT_LINES) {
        yield unit;
        unit = { lines: [], missing: [], raw: 0 };
      }
    }
    yield unit;
  }

  #addFrame(unit: Unit, ref: FrameRef): void {
    const known = this.#frames.table.find(Buffer.from(ref[4], 'hex'));
    if (known >= 0) {
      unit.lines.push({ known });
      return;
    }
    unit.lines.push({ missing: unit.missing.length });
    unit.missing.push(ref);
    unit.raw += ref[3];
  }

  /** Fetches what the target lacks and stores it there. */
  async #store(unit: Unit): Promise<FrameHandle[]> {
    const handles: FrameHandle[] = [];
    for await (const group of groupFrames(unit.missing)) {
      const bytes = await fetchGroup(group, this.#fetchFrom(this.#from));
      const frames = new Uint32Array(group.frames.length * 2);
      let at = 0;
      group.frames.forEach(([, , , raw], i) => {
        frames.set([at, raw], i * 2);
        at += raw;
      });
      handles.push(...(await this.#frames.writer.write({ bytes, frames })));
    }
    return handles;
  }
}
