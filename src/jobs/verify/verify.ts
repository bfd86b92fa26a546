import { createHash } from 'node:crypto';
import { createFramePool, type FramePool } from '../../codec/pool.ts';
import { isVolbakError, messageOf, VolbakError } from '../../core/errors.ts';
import { FrameTable } from '../../core/frame-table.ts';
import type { FrameRef } from '../../repository/frame-ref.ts';
import { readIndex } from '../../repository/index-reader.ts';
import { type SnapshotName, segmentKey } from '../../repository/keys.ts';
import type { Manifest, ManifestVolume } from '../../repository/manifest.ts';
import { formatSource } from '../../repository/references.ts';
import type { Repository } from '../../repository/repository.ts';
import { SegmentNames, segmentHeaderLength } from '../../repository/segments.ts';
import { presentSegments } from '../../repository/session.ts';
import { VolumeDigest } from '../../tar/digest.ts';
import { OrderCheck } from '../../tar/listing.ts';
import type { JobEnvironment } from '../environment.ts';

export interface VerifyOptions {
  /** Structure only: manifests, indexes, and that the segments are there. */
  quick: boolean;
  /** Of `of` parts of the segments, read this one (1 … of): all are covered after `of` runs. */
  sample?: { part: number; of: number };
}

export interface VerifyProblem {
  message: string;
  snapshot?: string;
  volume?: string;
  segment?: string;
  /** Files that the damage hits, printable; a few of them. */
  paths?: string[];
}

export interface VerifyResult {
  snapshots: number;
  segments: number;
  frames: number;
  bytes: number;
  errors: VerifyProblem[];
}

/** Raw bytes of frames decoded at once. */
const BATCH_RAW = 8 * 1024 * 1024;

/** Checks that snapshots are what was written: every index fits, every segment's hash, every frame decodes. */
export class VerifyJob {
  readonly #env: JobEnvironment;
  readonly #repository: Repository;
  readonly #options: VerifyOptions;
  readonly #pool: FramePool = createFramePool();
  readonly #table = FrameTable.create();
  readonly #names = new SegmentNames();
  readonly #needed = new Map<string, SnapshotName[]>();
  readonly #result: VerifyResult = { snapshots: 0, segments: 0, frames: 0, bytes: 0, errors: [] };
  readonly #badSegments = new Set<string>();

  constructor(env: JobEnvironment, repository: Repository, options: VerifyOptions) {
    this.#env = env;
    this.#repository = repository;
    this.#options = options;
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
      return this.#result;
    } finally {
      await this.#pool.close();
    }
  }

  async #checkManifest(name: SnapshotName): Promise<Manifest | undefined> {
    this.#env.signal.throwIfAborted();
    this.#result.snapshots++;
    try {
      const manifest = await this.#repository.manifest(name);
      for (const volume of manifest.volumes) await this.#checkIndex(name, volume);
      return manifest;
    } catch (error) {
      this.#fail(error, { snapshot: name.id });
      return undefined;
    }
  }

  async #checkIndex(name: SnapshotName, volume: ManifestVolume): Promise<void> {
    this.#env.emit({
      event: 'volume-start',
      volume: `${formatSource(name.source)} ${volume.name}`,
      action: 'verify',
      entries: volume.entries,
    });
    try {
      await this.#readIndex(name, volume);
    } catch (error) {
      this.#fail(error, { snapshot: name.id, volume: volume.name });
    }
  }

  async #readIndex(name: SnapshotName, volume: ManifestVolume): Promise<void> {
    const declared = new Set(volume.segments);
    for (const segment of volume.segments) this.#need(segment, name);
    const take = (ref: FrameRef) => {
      if (!declared.has(ref[0])) throw damaged(`frame in segment ${ref[0]} that the manifest does not name`);
      const [segment, offset, length, raw, sha256] = ref;
      this.#table.add(Buffer.from(sha256, 'hex'), 0, {
        segment: this.#names.numberOf(segment),
        offset,
        length,
        raw,
      });
    };
    for (const ref of volume.index) take(ref);
    const digest = new VolumeDigest();
    const order = new OrderCheck();
    let [members, spans, raws] = [0, 0, 0];
    const fetch = { store: this.#repository.store, pool: this.#pool, signal: this.#env.signal };
    for await (const line of readIndex(volume.index, fetch)) {
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

  #need(segment: string, name: SnapshotName): void {
    const users = this.#needed.get(segment);
    if (!users) this.#needed.set(segment, [name]);
    else if (users.at(-1) !== name) users.push(name);
  }

  async #checkPresence(): Promise<void> {
    const present = await presentSegments(this.#repository.store);
    for (const [segment, users] of this.#needed) {
      if (present.has(segment)) continue;
      this.#badSegments.add(segment);
      this.#result.errors.push({
        message: `segment is missing; needed by ${users.map((u) => u.id).join(', ')}`,
        segment,
      });
    }
  }

  async #checkSegments(): Promise<void> {
    const bySegment = new Map<number, number[]>();
    for (let entry = 0; entry < this.#table.size; entry++) {
      const { segment } = this.#table.entry(entry);
      const entries = bySegment.get(segment);
      if (entries) entries.push(entry);
      else bySegment.set(segment, [entry]);
    }
    const chosen = [...this.#needed.keys()].filter(
      (name) => !this.#badSegments.has(name) && this.#isSampled(name),
    );
    const total = chosen.length;
    for (const name of chosen) {
      this.#env.signal.throwIfAborted();
      await this.#checkSegment(name, bySegment.get(this.#names.numberOf(name)) ?? []);
      this.#result.segments++;
      this.#env.emit({
        event: 'progress',
        volume: 'segments',
        action: 'verify',
        done: this.#result.segments,
        total,
      });
    }
  }

  /** Parts are told by the name, so they stay the same while the repository grows. */
  #isSampled(segment: string): boolean {
    const { sample } = this.#options;
    return !sample || Number.parseInt(segment.slice(0, 8), 16) % sample.of === sample.part - 1;
  }

  async #checkSegment(name: string, entries: number[]): Promise<void> {
    try {
      const bytes = await this.#repository.store.get(segmentKey(name), { signal: this.#env.signal });
      this.#result.bytes += bytes.length;
      if (createHash('sha256').update(bytes).digest('hex') !== name)
        throw damaged('segment does not have the hash it is named by');
      if (segmentHeaderLength(bytes) === undefined) throw damaged('segment has no header');
      await this.#decodeAll(bytes, entries);
    } catch (error) {
      this.#badSegments.add(name);
      const users = (this.#needed.get(name) ?? []).map((user) => user.id);
      this.#fail(error, { segment: name, snapshot: users.join(', ') });
    }
  }

  async #decodeAll(bytes: Buffer, entries: number[]): Promise<void> {
    let frames: { offset: number; length: number; raw: number; sha256: string }[] = [];
    let raw = 0;
    const decode = async () => {
      if (frames.length > 0)
        await this.#pool.decode({
          stored: Buffer.concat(frames.map((f) => bytes.subarray(f.offset, f.offset + f.length))),
          frames: packed(frames),
        });
      this.#result.frames += frames.length;
      frames = [];
      raw = 0;
    };
    for (const number of entries) {
      const entry = this.#table.entry(number);
      if (entry.offset + entry.length > bytes.length)
        throw damaged('index names bytes beyond the end of its segment');
      frames.push({
        offset: entry.offset,
        length: entry.length,
        raw: entry.raw,
        sha256: this.#table.hashOf(number).toString('hex'),
      });
      raw += entry.raw;
      if (raw >= BATCH_RAW) await decode();
    }
    await decode();
  }

  /** Names the files whose content lies in damaged segments. */
  async #nameVictims(manifest: Manifest): Promise<void> {
    for (const volume of manifest.volumes) {
      if (!volume.segments.some((segment) => this.#badSegments.has(segment))) continue;
      const paths = await this.#victims(volume).catch(() => undefined);
      if (!paths || paths.length === 0) continue;
      this.#result.errors.push({
        message: `files are damaged: ${paths.join(', ')}`,
        snapshot: manifest.id,
        volume: volume.name,
        paths,
      });
    }
  }

  async #victims(volume: ManifestVolume): Promise<string[]> {
    const { printable } = await import('../../core/bytes.ts');
    const fetch = { store: this.#repository.store, pool: this.#pool, signal: this.#env.signal };
    const paths: string[] = [];
    const bad: { from: number; to: number }[] = [];
    let [frameEnd, position] = [0, 0];
    const waiting: { path: string; from: number; to: number }[] = [];
    const settle = () => {
      for (const { path, from, to } of waiting)
        if (bad.some((b) => b.from < to && from < b.to)) paths.push(printable(path));
      waiting.length = 0;
      bad.splice(0, bad.length, ...bad.filter((b) => b.to > position));
    };
    for await (const line of readIndex(volume.index, fetch)) {
      if (line.kind === 'frame') {
        if (frameEnd >= position) settle();
        const from = frameEnd;
        frameEnd += line.frame[3];
        if (this.#badSegments.has(line.frame[0])) bad.push({ from, to: frameEnd });
      } else if (line.kind === 'member') {
        waiting.push({ path: line.member.path, from: position, to: position + line.member.span });
        position += line.member.span;
      }
      if (paths.length >= 100) break;
    }
    settle();
    return paths;
  }

  #fail(error: unknown, where: Omit<VerifyProblem, 'message'>): void {
    this.#env.signal.throwIfAborted();
    const codes = ['STORE_UNREACHABLE', 'STORE_DENIED', 'WRONG_KEY'] as const;
    if (codes.some((code) => isVolbakError(error, code))) throw error;
    this.#result.errors.push({ message: messageOf(error), ...where });
  }
}

function packed(frames: { offset: number; length: number; raw: number; sha256: string }[]): typeof frames {
  let at = 0;
  return frames.map((frame) => {
    const offset = at;
    at += frame.length;
    return { ...frame, offset };
  });
}

function damaged(what: string): VolbakError {
  return new VolbakError('INTEGRITY', `the ${what}`);
}
