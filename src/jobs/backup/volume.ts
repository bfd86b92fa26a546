import type { FramePool } from '../../codec/pool.ts';
import { printable } from '../../core/bytes.ts';
import { VolbakError } from '../../core/errors.ts';
import type { EventSink } from '../../core/events.ts';
import type { SourceVolume } from '../../engine/source.ts';
import type { FrameWriter } from '../../repository/frame-writer.ts';
import type { IndexCache } from '../../repository/index-cache.ts';
import type { ManifestVolume, ManifestWarning } from '../../repository/manifest.ts';
import type { Listing } from '../read/listing.ts';
import type { ReadResult, VolumeReader } from '../read/read.ts';
import type { SlabMemory } from '../read/slabs.ts';
import { VolumeIndexer } from './indexer.ts';
import type { Reuse } from './known-frames.ts';
import { ReusedRuns } from './parent-runs.ts';

export interface VolumeBackup {
  volume: ManifestVolume;
  warnings: ManifestWarning[];
  /** False where files changed, vanished or could not be read. */
  complete: boolean;
}

export interface VolumeReadOptions {
  /** Of this volume; undefined where its listing is known. */
  reader: VolumeReader | undefined;
  writer: FrameWriter;
  pool: FramePool;
  emit: EventSink;
  /** What is told with progress. */
  action: string;
  /** Where the reading thread puts what it reads. */
  memory: SlabMemory;
  /** What is taken over from a parent; without it all is read. */
  reuse: Reuse | undefined;
  /** Keeps the index on this host. */
  cache: IndexCache | undefined;
}

/** A volume that was read; its frames and its index may still be on their way to the store. */
export interface VolumeReading {
  /** Bytes of tar that were read. */
  bytes: number;
  /** Waits until all is placed in segments, and writes the rest of the index. Raises what storing raises. */
  finish(): Promise<VolumeBackup>;
  /** Lets go of what it holds, where it is not finished. Safe to call in any case. */
  abandon(): Promise<void>;
}

/** Reads what changed of a listed volume; when it resolves the volume is needed no longer. */
export async function readIntoRepository(
  volume: SourceVolume,
  listing: Listing,
  options: VolumeReadOptions,
): Promise<VolumeReading> {
  const { reuse } = options;
  const present = reuse?.parent.volume.index.every(([segment]) => reuse.parent.present.has(segment));
  if (reuse?.plan.unchanged && present) {
    const { index, entries, tarBytes, segments, frames, digest } = reuse.parent.volume;
    const stored = { index, entries, tarBytes, segments, frames, digest, newBytes: 0, storedBytes: 0 };
    const { sockets, excluded, fineTimes = false } = reuse.parent.volume;
    const told = listing.known ? { ...listing, sockets, excluded, fineTimes } : listing;
    return {
      bytes: 0,
      finish: async () => describe(volume, told, NOTHING_READ, stored),
      abandon: async () => {},
    };
  }
  const { reader } = options;
  if (!reader) throw new VolbakError('UNEXPECTED', 'a listing without records is to be read');
  const runs = reuse?.runs && new ReusedRuns(reuse.runs, reuse.plan.ranges);
  const abandon = async () => runs?.close();
  try {
    const { writer, pool, memory, cache } = options;
    const indexer = new VolumeIndexer({ volume: volume.name, writer, pool, memory, reused: runs, cache });
    const result = await read(volume, listing, indexer, reader, options);
    const finish = () => store(volume, listing, result, indexer).finally(abandon);
    return { bytes: result.bytes, finish, abandon };
  } catch (error) {
    await abandon();
    throw error;
  }
}

const NOTHING_READ: ReadResult = { bytes: 0, complaints: [], missing: [] };

async function read(
  volume: SourceVolume,
  listing: Listing,
  indexer: VolumeIndexer,
  reader: VolumeReader,
  { emit, action, memory, reuse }: VolumeReadOptions,
): Promise<ReadResult> {
  const reading = reuse?.plan.reading ?? listing;
  const total = reuse?.plan.bytes ?? listing.bytes;
  if (reading.spool.count === 0) {
    indexer.takeAll();
    return NOTHING_READ;
  }
  return reader.read(reading, {
    memory,
    failed: indexer.failed,
    onBatch: (batch) => {
      indexer.batch(batch);
      emit({ event: 'progress', volume: volume.name, action, done: batch.bytes, total });
    },
  });
}

async function store(
  volume: SourceVolume,
  listing: Listing,
  result: ReadResult,
  indexer: VolumeIndexer,
): Promise<VolumeBackup> {
  const index = await Promise.race([indexer.finish(), indexer.failed]);
  const { lines } = indexer.index;
  // What it was when it was listed is not what was stored, so the listing does not stand for it.
  const { hash, ...unsure } = listing;
  return describe(volume, indexer.suspect ? unsure : listing, result, {
    index,
    entries: lines.entries,
    tarBytes: lines.tarBytes,
    segments: indexer.index.segments(index),
    frames: lines.frames,
    digest: indexer.digest.digest(),
    ...indexer.tally,
  });
}

type Stored = Pick<
  ManifestVolume,
  'index' | 'entries' | 'tarBytes' | 'segments' | 'frames' | 'digest' | 'newBytes' | 'storedBytes'
>;

const PLAIN =
  'the helper image has no GNU find and tar: all was read, and extended attributes, ACLs, holes, fractions of seconds ' +
  'and some hard links are not kept';

/** Warnings that a manifest names; what is beyond is counted. */
const MAX_WARNINGS = 1000;

function describe(source: SourceVolume, listing: Listing, result: ReadResult, stored: Stored): VolumeBackup {
  const warnings: ManifestWarning[] = result.complaints.map(({ path, message }) => ({
    message,
    volume: source.name,
    path: printable(path),
  }));
  if (listing.plain) warnings.push({ message: PLAIN, volume: source.name });
  for (const complaint of listing.complaints)
    warnings.push({ message: printable(complaint), volume: source.name });
  const kept = warnings.slice(0, MAX_WARNINGS);
  if (warnings.length > MAX_WARNINGS) {
    kept.push({ message: `and ${warnings.length - MAX_WARNINGS} more warnings`, volume: source.name });
  }
  const suspects = result.complaints.map(({ path }) => Buffer.from(path, 'latin1').toString('base64'));
  return {
    volume: {
      name: source.name,
      anonymous: source.anonymous,
      destinations: source.destinations,
      ...(source.subpath === undefined ? {} : { subpath: source.subpath }),
      ...(source.bind === undefined ? {} : { bind: true }),
      driver: source.driver,
      driverOpts: source.driverOpts,
      maskedOpts: source.maskedOpts,
      labels: source.labels,
      fsType: listing.fsType,
      listed: listing.started.toISOString(),
      fineTimes: listing.fineTimes,
      ...(listing.hash === undefined || result.complaints.length > 0 ? {} : { listing: listing.hash }),
      sockets: listing.sockets,
      excluded: listing.excluded,
      readBytes: result.bytes,
      suspects,
      ...stored,
    },
    warnings: kept,
    complete: listing.complaints.length === 0 && result.complaints.every(({ kind }) => kind === 'warning'),
  };
}
