import type { Manifest, ManifestVolume } from '../../repository/manifest.ts';
import type { EngineContext } from '../engine-context.ts';
import type { JobEnvironment } from '../environment.ts';
import type { FrameStore } from '../frame-store.ts';
import { type Held, type Hold, hold } from '../hold.ts';
import type { KnownFrames } from './known-frames.ts';
import { abandonAll, type Pass, type SourceReader } from './source-reader.ts';
import type { VolumeBackup, VolumeReading } from './volume.ts';

export interface PassDeps {
  env: JobEnvironment;
  ctx: EngineContext;
  frames: FrameStore;
  known: KnownFrames;
  reader: SourceReader;
  /** By volume name. */
  parents: ReadonlyMap<string, Manifest>;
  /** Read everything. */
  full: boolean;
}

/** A live pass that read more than this is followed by another one: as much may have changed meanwhile. */
const REPEAT_FROM = 256 * 1024 * 1024;
const MAX_LIVE_PASSES = 3;

/**
 * Segments of 32 MiB that wait in memory where the store is slower than what is read while containers stand still: only
 * what changed since the live pass and is new comes to this, compressed. Beyond it the store's speed counts.
 */
const BACKLOG = 8;

/** Reads all once. */
export function onePass({ ctx, known, reader, parents, full }: PassDeps): Promise<VolumeBackup[]> {
  return reader.store(fromParents('read', { ctx, known, parents, full }));
}

/**
 * Reads while nothing moves; containers run again as soon as all was read, and only then the rest is stored. With
 * `liveFirst` all is read before while it is in use, as often as much changes meanwhile, and then only what changed since.
 */
export async function heldPass(
  deps: PassDeps,
  holding: Hold,
  liveFirst: boolean,
): Promise<Held<VolumeBackup[]>> {
  const live = liveFirst ? await livePasses(deps) : undefined;
  deps.frames.writer.backlog = BACKLOG;
  let readings: VolumeReading[] = [];
  try {
    const pass = live ? rest(deps, 'read the rest', live) : fromParents('read', deps);
    const { result, downtimeMs } = await hold(deps.env, holding, () => deps.reader.read(pass));
    readings = result;
    deps.frames.writer.backlog = 0;
    const volumes: VolumeBackup[] = [];
    for (const reading of readings) volumes.push(await reading.finish());
    return { result: volumes.map((volume) => withLive(volume, live?.get(volume.volume.name))), downtimeMs };
  } finally {
    deps.frames.writer.backlog = 0;
    await abandonAll(readings);
  }
}

/** What earlier passes of this run read and stored, by volume name. */
type Live = ReadonlyMap<string, ManifestVolume>;

async function livePasses(deps: PassDeps): Promise<Live> {
  const { reader, frames } = deps;
  let live: Live | undefined;
  for (let pass = 1; ; pass++) {
    const volumes = await reader.store(
      live ? rest(deps, 'read again', live) : fromParents('read while in use', deps),
    );
    // What waits for the store now must not keep containers waiting; and what is stored can be read back.
    await frames.writer.flush();
    const read = volumes.reduce((sum, { volume }) => sum + volume.readBytes, 0);
    live = new Map(volumes.map((v) => [v.volume.name, withLive(v, live?.get(v.volume.name)).volume]));
    if (read < REPEAT_FROM || pass === MAX_LIVE_PASSES) return live;
  }
}

function fromParents(
  action: string,
  { ctx, known, parents, full }: Pick<PassDeps, 'ctx' | 'known' | 'parents' | 'full'>,
): Pass {
  return {
    action,
    compare({ name }) {
      const parent = parents.get(name);
      // Inodes and times of another engine's files mean nothing here.
      return known.compare(name, parent, full || parent?.engine.id !== ctx.engine.info.id);
    },
  };
}

function rest({ known }: PassDeps, action: string, live: Live): Pass {
  return {
    action,
    compare({ name }) {
      const before = live.get(name);
      return before && known.compareRest(before);
    },
  };
}

/** What the live pass read and stored was done for this snapshot, too. */
function withLive(backup: VolumeBackup, live: ManifestVolume | undefined): VolumeBackup {
  if (!live) return backup;
  const { volume } = backup;
  const readBytes = volume.readBytes + live.readBytes;
  const newBytes = volume.newBytes + live.newBytes;
  const storedBytes = volume.storedBytes + live.storedBytes;
  return { ...backup, volume: { ...volume, readBytes, newBytes, storedBytes } };
}
