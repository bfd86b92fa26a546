import { type Attachment, planAttachment } from '../../engine/attachment.ts';
import type { ResolvedSource, SourceVolume } from '../../engine/source.ts';
import type { Repository } from '../../repository/repository.ts';
import type { EngineContext } from '../engine-context.ts';
import type { JobEnvironment } from '../environment.ts';
import type { FrameStore } from '../frame-store.ts';
import { listVolume } from '../read/list.ts';
import type { Listing } from '../read/listing.ts';
import { VolumeReader } from '../read/read.ts';
import { createSlabs } from '../read/slabs.ts';
import { excludeGlobs } from './exclude.ts';
import type { Comparison, Reuse } from './known-frames.ts';
import { readIntoRepository, type VolumeBackup, type VolumeReading } from './volume.ts';

export interface ReaderDeps {
  env: JobEnvironment;
  ctx: EngineContext;
  repository: Repository;
  frames: FrameStore;
  /** Globs of what is left out. */
  exclude: readonly string[];
}

/** One way through all volumes of a source. */
export interface Pass {
  /** What is told with events. */
  action: string;
  /** Called before a volume is listed. Undefined: all is read. */
  compare(volume: SourceVolume): Comparison | undefined;
}

interface Listed {
  listing: Listing;
  reuse: Reuse | undefined;
  /** What reads it; undefined where nothing is to be read. Must be closed. */
  reader: VolumeReader | undefined;
}

/** Reads the volumes of one source into a repository, as often as it is asked to. */
export class SourceReader {
  readonly #deps: ReaderDeps;
  readonly #source: ResolvedSource;
  readonly #attachment: Attachment;
  /** One after another they use the same memory. */
  readonly #memory = createSlabs();
  helperTar = 'unknown';

  constructor(deps: ReaderDeps, source: ResolvedSource) {
    this.#deps = deps;
    this.#source = source;
    this.#attachment = planAttachment(source, source.volumes);
  }

  /** Reads and stores one volume after another; the indexes are written, too. */
  async store(pass: Pass): Promise<VolumeBackup[]> {
    const results: VolumeBackup[] = [];
    for (const volume of this.#source.volumes) results.push(await (await this.#read(volume, pass)).finish());
    return results;
  }

  /** Reads all volumes; what was read is stored meanwhile, and need not be when it resolves. */
  async read(pass: Pass): Promise<VolumeReading[]> {
    const readings: VolumeReading[] = [];
    try {
      for (const volume of this.#source.volumes) readings.push(await this.#read(volume, pass));
      return readings;
    } catch (error) {
      await abandonAll(readings);
      throw error;
    }
  }

  async #read(volume: SourceVolume, pass: Pass): Promise<VolumeReading> {
    const { env, frames } = this.#deps;
    const { emit } = env;
    const { name } = volume;
    const { action } = pass;
    const { listing, reuse, reader } = await this.#list(volume, pass);
    try {
      emit({
        event: 'volume-start',
        volume: name,
        action,
        entries: (reuse?.plan.reading ?? listing).spool.count,
        of: listing.known && reuse ? reuse.parent.volume.entries : listing.spool.count,
        bytes: (reuse?.plan ?? listing).bytes,
      });
      const { writer, pool, cache } = frames;
      const options = { reader, writer, pool, emit, action, reuse, cache, memory: this.#memory };
      const reading = await readIntoRepository(volume, listing, options);
      emit({ event: 'volume-done', volume: name, action, bytes: reading.bytes });
      return reader ? closing(reader, reading) : reading;
    } catch (error) {
      await reader?.close().catch(() => {});
      throw error;
    }
  }

  async #list(volume: SourceVolume, { compare }: Pass): Promise<Listed> {
    const comparison = compare(volume);
    let reader: VolumeReader | undefined;
    try {
      const leftOut = this.#leftOut(volume);
      const exclude = excludeGlobs(leftOut.globs, leftOut.directories);
      const path = this.#attachment.paths.get(volume.name) as string;
      // It starts while the volume is listed: where anything changed, something will most likely be read.
      const begin = (fsType: string, plain = false) => {
        reader = new VolumeReader(this.#deps.ctx, this.#attachment, path, { fsType, plain });
      };
      const listing = await listVolume(this.#deps.ctx, this.#attachment, path, {
        ...(exclude ? { exclude } : {}),
        recognition: { leftOut, known: () => comparison?.known(), onOther: begin },
      });
      this.helperTar = listing.helperTar;
      if (!listing.known && !reader) begin(listing.fsType, listing.plain);
      return { listing, reuse: await comparison?.plan(listing), reader };
    } catch (error) {
      await reader?.close().catch(() => {});
      throw error;
    } finally {
      await comparison?.close();
    }
  }

  /** volbak's own repository may lie inside a bind mount: it must not eat itself. */
  #leftOut(volume: SourceVolume): { globs: readonly string[]; directories: string[] } {
    const { repository, env, exclude } = this.#deps;
    const own: string[] = [];
    const { label } = repository.store;
    if (volume.bind !== undefined && label.startsWith(`${volume.bind.replace(/\/$/, '')}/`)) {
      own.push(`.${label.slice(volume.bind.replace(/\/$/, '').length)}`);
      env.emit({ event: 'info', message: `the repository lies inside ${volume.bind} and is left out` });
    }
    return { globs: exclude, directories: own };
  }
}

/** Puts the reader away while others go on: containers that stand still need not wait for it. */
function closing(reader: VolumeReader, reading: VolumeReading): VolumeReading {
  const closed = reader.close();
  closed.catch(() => {});
  return {
    bytes: reading.bytes,
    finish: async () => {
      const backup = await reading.finish();
      await closed;
      return backup;
    },
    abandon: async () => {
      await closed.catch(() => {});
      await reading.abandon();
    },
  };
}

/** Lets go of volumes that were read, and will not be stored to their end. */
export async function abandonAll(readings: readonly VolumeReading[]): Promise<void> {
  for (const reading of readings) await reading.abandon();
}
