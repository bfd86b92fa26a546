import { createFramePool, type FramePool } from '../../codec/pool.ts';
import type { FetchOptions } from '../../repository/fetch.ts';
import type { FrameRef } from '../../repository/frame-ref.ts';
import { readIndex } from '../../repository/index-reader.ts';
import { type SnapshotName, segmentKey } from '../../repository/keys.ts';
import type { Manifest, ManifestVolume } from '../../repository/manifest.ts';
import { formatSource } from '../../repository/references.ts';
import type { Repository } from '../../repository/repository.ts';
import { presentSegments } from '../../repository/session.ts';
import { VolumeDigest } from '../../tar/digest.ts';
import { OrderCheck } from '../../tar/listing.ts';
import type { JobEnvironment } from '../environment.ts';
import { checkSegment, isSampled } from './check-segment.ts';
import { Damage, damaged, type VerifyProblem } from './damage.ts';
import { hitFiles } from './hit-files.ts';
import { NamedFrames } from './named-frames.ts';

export type { VerifyProblem } from './damage.ts';

export interface VerifyOptions {
  /** Structure only: manifests, indexes, and that the segments are there. */
  quick: boolean;
  /** Of `of` parts of the segments, read this one (1 … of): all are covered after `of` runs. */
  sample?: { part: number; of: number };
}

export interface VerifyResult {
  snapshots: number;
  segments: number;
  frames: number;
  bytes: number;
  errors: VerifyProblem[];
}

/** Checks that snapshots are what was written: every index fits, every segment's hash, every frame decodes. */
export class VerifyJob {
  /** What is wrong, when it has run. */
  readonly damage: Damage;
  readonly #env: JobEnvironment;
  readonly #repository: Repository;
  readonly #options: VerifyOptions;
  readonly #pool: FramePool = createFramePool();
  readonly #frames = new NamedFrames();
  readonly #needed = new Map<string, SnapshotName[]>();
  readonly #result: Omit<VerifyResult, 'errors'> = { snapshots: 0, segments: 0, frames: 0, bytes: 0 };

  constructor(env: JobEnvironment, repository: Repository, options: VerifyOptions) {
    this.#env = env;
    this.#repository = repository;
    this.#options = options;
    this.damage = new Damage(env.signal);
  }

  async run(names: readonly SnapshotName[]): Promise<VerifyResult> {
    try {
      const manifests: { name: SnapshotName; manifest: Manifest }[] = [];
      for (const name of names) {
        const manifest = await this.#checkManifest(name);
        if (manifest) manifests.push({ name, manifest });
      }
      await this.#checkPresence();
      if (!this.#options.quick) await this.#checkSegments();
      for (const { manifest } of manifests) await this.#nameVictims(manifest);
      return { ...this.#result, errors: this.damage.problems };
    } finally {
      await this.#pool.close();
    }
  }

  async #checkManifest(name: SnapshotName): Promise<Manifest | undefined> {
    this.#env.signal.throwIfAborted();
    this.#result.snapshots++;
    let manifest: Manifest;
    try {
      manifest = await this.#repository.manifest(name);
    } catch (error) {
      this.damage.noteManifest(error, name);
      return undefined;
    }
    for (const volume of manifest.volumes) await this.#checkIndex(name, volume);
    return manifest;
  }

  async #checkIndex(name: SnapshotName, volume: ManifestVolume): Promise<void> {
    this.#env.emit({
      event: 'volume-start',
      volume: `${formatSource(name.source)} ${volume.name}`,
      action: 'verify',
      entries: volume.entries,
    });
    for (const segment of volume.segments) this.#need(segment, name);
    try {
      await this.#readIndex(volume);
    } catch (error) {
      this.damage.noteIndex(error, name.id, volume.name);
    }
  }

  async #readIndex(volume: ManifestVolume): Promise<void> {
    const declared = new Set(volume.segments);
    const take = (ref: FrameRef) => {
      if (!declared.has(ref[0])) throw damaged(`frame in segment ${ref[0]} that the manifest does not name`);
      this.#frames.add(ref);
    };
    for (const ref of volume.index) take(ref);
    const digest = new VolumeDigest();
    const order = new OrderCheck();
    let [members, spans, raws] = [0, 0, 0];
    for await (const line of readIndex(volume.index, this.#fetch())) {
      if (line.kind === 'frame') {
        take(line.frame);
        raws += line.frame[3];
      } else if (line.kind === 'member') {
        order.next(line.member.path);
        digest.add(line.member);
        members++;
        spans += line.member.span;
      }
    }
    if (members !== volume.entries)
      throw damaged(`index holds ${members} members, the manifest says ${volume.entries}`);
    if (raws !== volume.tarBytes || spans + 1024 !== raws) throw damaged('frames and members do not add up');
    if (digest.digest() !== volume.digest) throw damaged('digest of the index is not that of the manifest');
  }

  #fetch(): FetchOptions {
    return { store: this.#repository.store, pool: this.#pool, signal: this.#env.signal };
  }

  #need(segment: string, name: SnapshotName): void {
    const users = this.#needed.get(segment);
    if (!users) this.#needed.set(segment, [name]);
    else if (users.at(-1) !== name) users.push(name);
  }

  async #checkPresence(): Promise<void> {
    const present = await presentSegments(this.#repository.store);
    for (const [segment, users] of this.#needed) {
      if (present.has(segment)) continue;
      this.damage.segments.add(segment);
      this.damage.problems.push({
        message: `segment is missing; needed by ${users.map((u) => u.id).join(', ')}`,
        segment,
      });
    }
  }

  async #checkSegments(): Promise<void> {
    const chosen = [...this.#needed.keys()].filter(
      (name) => !this.damage.segments.has(name) && isSampled(name, this.#options.sample),
    );
    for (const name of chosen) {
      this.#env.signal.throwIfAborted();
      await this.#checkSegment(name);
      this.#result.segments++;
      this.#env.emit({
        event: 'progress',
        volume: 'segments',
        action: 'verify',
        done: this.#result.segments,
        total: chosen.length,
      });
    }
  }

  async #checkSegment(name: string): Promise<void> {
    try {
      const bytes = await this.#repository.store.get(segmentKey(name), { signal: this.#env.signal });
      this.#result.bytes += bytes.length;
      this.#result.frames += await checkSegment(name, bytes, this.#frames.in(name), this.#pool);
    } catch (error) {
      const users = (this.#needed.get(name) ?? []).map((user) => user.id);
      this.damage.note(error, { segment: name, snapshot: users.join(', ') });
      this.damage.segments.add(name);
    }
  }

  /** Names the files whose content lies in damaged segments. */
  async #nameVictims(manifest: Manifest): Promise<void> {
    for (const volume of manifest.volumes) {
      if (!volume.segments.some((segment) => this.damage.segments.has(segment))) continue;
      const paths = await hitFiles(volume, this.damage.segments, this.#fetch()).catch(() => []);
      if (paths.length === 0) continue;
      this.damage.problems.push({
        message: `files are damaged: ${paths.join(', ')}`,
        snapshot: manifest.id,
        volume: volume.name,
        paths,
      });
    }
  }
}
