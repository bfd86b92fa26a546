import { createFramePool } from '../../codec/pool.ts';
import { isVolbakError, messageOf, VolbakError } from '../../core/errors.ts';
import { type FetchOptions, fetchGroup } from '../../repository/fetch.ts';
import type { FrameRef } from '../../repository/frame-ref.ts';
import type { FrameWriter } from '../../repository/frame-writer.ts';
import { readFrameRefs, readIndex } from '../../repository/index-reader.ts';
import type { SnapshotName } from '../../repository/keys.ts';
import type { Manifest, ManifestVolume } from '../../repository/manifest.ts';
import { formatSource } from '../../repository/references.ts';
import type { Repository } from '../../repository/repository.ts';
import { Session } from '../../repository/session.ts';
import type { JobEnvironment } from '../environment.ts';
import { handleOf, Rewriter, type VolumePlan } from '../rewrite/rewrite.ts';
import { fetchInOrder, type RawFrames } from '../transfer.ts';
import type { Damage } from './damage.ts';
import { findFrames } from './find-frames.ts';

export interface Repaired {
  /** Ids of snapshots that were published again. */
  repaired: string[];
  /** Why others could not be. */
  lost: { snapshot: string; message: string }[];
  /** Bytes added to the repository. */
  storedBytes: number;
}

interface Patient {
  name: SnapshotName;
  /** The manifest as it stands, if it can be read, and its bytes. */
  standing: { manifest: Manifest; stored: Buffer } | undefined;
  /** The same snapshot in the other repository. */
  twin: Manifest | undefined;
}

/**
 * Brings back what is damaged from another repository that holds copies: frames by their SHA-256, whatever snapshot has them
 * there; indexes and manifests from the same snapshot. They go into new segments, and the snapshots are published again, as a
 * rewriting does; the damaged segments stay until a prune.
 */
export async function repair(
  env: JobEnvironment,
  repository: Repository,
  other: Repository,
  names: readonly SnapshotName[],
  damage: Damage,
): Promise<Repaired> {
  const pool = createFramePool();
  const here: FetchOptions = { store: repository.store, pool, signal: env.signal };
  const there: FetchOptions = { store: other.store, pool, signal: env.signal };
  const result: Repaired = { repaired: [], lost: [], storedBytes: 0 };
  try {
    const patients = await findPatients(repository, other, names, damage);
    if (patients.length === 0) return result;
    const wanted = await wantedFrames(patients, damage, here);
    const found = await findFrames(other, patients, wanted, there);
    const session = await Session.begin({
      store: repository.store,
      kind: 'repair',
      uses: patients.map(({ name }) => name),
      now: () => env.clock.now().getTime(),
    });
    const twins = new Map(patients.map(({ name, twin }) => [name.id, twin]));
    const rewriter = new Rewriter(env, repository, session, {
      action: 'repair',
      plan(volume, { id, source }, writer): VolumePlan | undefined {
        const local = !damage.hasIndex(id, volume.name) && !damage.hasManifest({ source, id });
        if (!local) return fromTwin(volume, twins.get(id), writer, there);
        if (!volume.segments.some((segment) => damage.segments.has(segment))) return undefined;
        for (const ref of volume.index) if (!damage.segments.has(ref[0])) writer.addKnown(ref);
        return {
          lines: readIndex(volume.index, here),
          known: (ref) => (damage.segments.has(ref[0]) ? undefined : handleOf(ref, writer)),
          fetch: (refs) => fetchAnywhere(refs, here, found, there),
        };
      },
    });
    try {
      for await (const ref of framesAround(repository, names, patients, damage, here)) rewriter.addKnown(ref);
      for (const patient of patients) await repairOne(patient, rewriter, result, env);
      result.storedBytes = rewriter.storedBytes;
    } finally {
      await rewriter.close();
      await session.end();
    }
    return result;
  } finally {
    await pool.close();
  }
}

/**
 * Frames that a snapshot whose own index is lost may have: those of what is left of it, and of other snapshots of its source.
 * Each is checked when it is read the next time, like any other.
 */
async function* framesAround(
  repository: Repository,
  names: readonly SnapshotName[],
  patients: readonly Patient[],
  damage: Damage,
  here: FetchOptions,
): AsyncGenerator<FrameRef> {
  const sources = new Set(
    patients
      .filter(
        ({ name, standing }) => !standing?.manifest.volumes.every((v) => !damage.hasIndex(name.id, v.name)),
      )
      .map(({ name }) => formatSource(name.source)),
  );
  const seen = new Set<string>();
  for (const name of names) {
    if (!sources.has(formatSource(name.source)) || damage.hasManifest(name)) continue;
    for (const { index } of (await repository.manifest(name)).volumes) {
      for (const ref of index) {
        if (seen.has(ref[4])) continue;
        seen.add(ref[4]);
        // One by one: the others are not lost with one that is.
        const frames = await gather(readFrameRefs([ref], here));
        for (const frame of frames) if (!damage.segments.has(frame[0])) yield frame;
      }
    }
  }
}

async function gather(frames: AsyncIterable<FrameRef>): Promise<FrameRef[]> {
  const all: FrameRef[] = [];
  try {
    for await (const frame of frames) all.push(frame);
  } catch (error) {
    if (!isVolbakError(error, 'INTEGRITY')) throw error;
  }
  return all;
}

async function repairOne(
  { name, standing, twin }: Patient,
  rewriter: Rewriter,
  result: Repaired,
  env: JobEnvironment,
): Promise<void> {
  try {
    const manifest = standing?.manifest ?? twin;
    if (!manifest)
      throw new VolbakError('INTEGRITY', 'its manifest cannot be read, and the copy does not have it');
    const done = await rewriter.run(name, standing?.stored, manifest);
    if (done) result.repaired.push(name.id);
    else result.lost.push({ snapshot: name.id, message: 'it was changed meanwhile' });
  } catch (error) {
    env.signal.throwIfAborted();
    if (!isVolbakError(error, 'INTEGRITY')) throw error;
    result.lost.push({ snapshot: name.id, message: messageOf(error) });
  }
}

/** Snapshots that the damage hits. */
async function findPatients(
  repository: Repository,
  other: Repository,
  names: readonly SnapshotName[],
  damage: Damage,
): Promise<Patient[]> {
  const copies = await other.snapshotNames();
  const patients: Patient[] = [];
  for (const name of names) {
    const broken = damage.hasManifest(name);
    const standing = broken ? undefined : await repository.manifestAndBytes(name);
    const hit = standing?.manifest.volumes.some(
      (volume) =>
        damage.hasIndex(name.id, volume.name) ||
        volume.segments.some((segment) => damage.segments.has(segment)),
    );
    if (!broken && !hit) continue;
    const copy = copies.find(
      ({ id, source }) => id === name.id && formatSource(source) === formatSource(name.source),
    );
    const twin = copy && (await other.manifest(copy).catch(() => undefined));
    patients.push({ name, standing, twin });
  }
  return patients;
}

/** SHA-256 of the frames that are stored anew, as far as the own indexes tell. */
async function wantedFrames(
  patients: readonly Patient[],
  damage: Damage,
  here: FetchOptions,
): Promise<Set<string>> {
  const wanted = new Set<string>();
  for (const { name, standing } of patients) {
    for (const volume of standing?.manifest.volumes ?? []) {
      if (damage.hasIndex(name.id, volume.name)) continue;
      for await (const [segment, , , , sha256] of readFrameRefs(volume.index, here))
        if (damage.segments.has(segment)) wanted.add(sha256);
    }
  }
  return wanted;
}

/** A volume whose own index is lost: by the copy's, and from there all that is not stored anew already. */
function fromTwin(
  volume: ManifestVolume,
  twin: Manifest | undefined,
  writer: FrameWriter,
  there: FetchOptions,
): VolumePlan {
  const copy = twin?.volumes.find(({ name, digest }) => name === volume.name && digest === volume.digest);
  if (!copy)
    throw new VolbakError(
      'INTEGRITY',
      `the index of volume ${volume.name} cannot be read, and the copy does not have this snapshot`,
    );
  return {
    lines: readIndex(copy.index, there),
    known(ref) {
      const known = writer.table.find(Buffer.from(ref[4], 'hex'));
      return known < 0 ? undefined : known;
    },
    fetch: (refs) => fetchInOrder(refs, there),
  };
}

/** Frames of damaged segments: many can be read yet, the others come from the copy. Raises INTEGRITY for one that is lost. */
async function* fetchAnywhere(
  refs: readonly FrameRef[],
  here: FetchOptions,
  found: ReadonlyMap<string, FrameRef>,
  there: FetchOptions,
): AsyncGenerator<RawFrames> {
  for (const ref of refs) {
    const bytes = await fetchOne(ref, here).catch((error: unknown) => {
      if (!isVolbakError(error, 'INTEGRITY')) throw error;
      const copy = found.get(ref[4]);
      if (copy) return fetchOne(copy, there);
      throw new VolbakError('INTEGRITY', `frame ${ref[4]} is lost, and the copy does not have it`, {
        cause: error,
      });
    });
    yield { bytes, lengths: [ref[3]] };
  }
}

function fetchOne(ref: FrameRef, fetch: FetchOptions): Promise<Uint8Array> {
  const [segment, offset, length, raw] = ref;
  return fetchGroup({ segment, offset, length, raw, frames: [ref] }, fetch);
}
