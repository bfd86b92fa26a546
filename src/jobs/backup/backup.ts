import { isVolbakError } from '../../core/errors.ts';
import { Journal } from '../../core/journal.ts';
import { planAttachment } from '../../engine/attachment.ts';
import {
  QUIESCE_JOURNAL,
  type Quiesced,
  type QuiesceMode,
  type QuiesceNote,
  quiesce,
} from '../../engine/quiesce.ts';
import type { ResolvedSource, SourceVolume } from '../../engine/source.ts';
import { nextSnapshotId, type SnapshotName, type Source } from '../../repository/keys.ts';
import type { Manifest } from '../../repository/manifest.ts';
import { formatSource } from '../../repository/references.ts';
import type { Repository } from '../../repository/repository.ts';
import { Session } from '../../repository/session.ts';
import { commitManifest } from '../commit.ts';
import type { EngineContext } from '../engine-context.ts';
import type { JobEnvironment } from '../environment.ts';
import { type FrameStore, openFrameStore } from '../frame-store.ts';
import { listVolume } from '../read/list.ts';
import type { Exclude } from '../read/listing.ts';
import { excludeGlobs } from './exclude.ts';
import { KnownFrames } from './known-frames.ts';
import { findParents, type Parents } from './parents.ts';
import { backupVolume, type VolumeBackup } from './volume.ts';

export interface BackupOptions {
  quiesce?: QuiesceMode;
  exclude: readonly string[];
  tags: Record<string, string>;
  /** A snapshot to take frames from, instead of the newest fitting one. */
  parent?: SnapshotName;
  /** Read everything, also what a listing says is unchanged. */
  full: boolean;
}

export interface BackupOutcome {
  manifest: Manifest;
  durationMs: number;
}

/** How often parents are chosen anew because a forget took them away. */
const MOST_TRIES = 3;

/** Backs up sources one after another; frames that several of them have are stored once. */
export class BackupJob {
  readonly #env: JobEnvironment;
  readonly #ctx: EngineContext;
  readonly #repository: Repository;
  readonly #options: BackupOptions;
  readonly #frames: FrameStore;
  readonly #known: KnownFrames;
  #helperTar = 'unknown';
  /** Newest snapshot of the source being backed up. */
  #newest: string | undefined;

  constructor(env: JobEnvironment, ctx: EngineContext, repository: Repository, options: BackupOptions) {
    this.#env = env;
    this.#ctx = ctx;
    this.#repository = repository;
    this.#options = options;
    this.#frames = openFrameStore(env, repository);
    this.#known = new KnownFrames(env, repository, this.#frames);
  }

  async close(): Promise<void> {
    await this.#frames.close();
  }

  /** Makes one snapshot. Raises what went wrong; then there is no snapshot. */
  async run(source: ResolvedSource): Promise<BackupOutcome> {
    const { clock, emit } = this.#env;
    const started = clock.now();
    const key: Source = { host: this.#ctx.engine.info.name, kind: source.kind, name: source.name };
    emit({ event: 'source', source: formatSource(key), volumes: source.volumes.map((v) => v.name) });
    const { parents, session } = await this.#beginSession(source, key);
    try {
      await this.#known.begin(parents.others);
      const volumes = await this.#quiesced(source, parents);
      await this.#frames.writer.flush();
      const manifest = this.#manifest(source, key, started, parents, volumes);
      await commitManifest(this.#repository, manifest, session, this.#env.signal);
      await this.#frames.committed(manifest, clock.now());
      return { manifest, durationMs: clock.now().getTime() - started.getTime() };
    } finally {
      await session.end();
    }
  }

  /** Chooses parents and names them in a session; once more where one was forgotten in between. */
  async #beginSession(source: ResolvedSource, key: Source): Promise<{ parents: Parents; session: Session }> {
    for (let tries = 1; ; tries++) {
      const parents = await this.#findParents(source, key);
      try {
        const session = await Session.begin({
          store: this.#repository.store,
          kind: 'backup',
          uses: [...parents.names, ...parents.others],
          now: () => this.#env.clock.now().getTime(),
        });
        return { parents, session };
      } catch (error) {
        if (tries === MOST_TRIES || !isVolbakError(error, 'STORE_NOT_FOUND')) throw error;
      }
    }
  }

  async #findParents(source: ResolvedSource, key: Source): Promise<Parents> {
    const { parent } = this.#options;
    const all = await this.#repository.snapshotNames();
    this.#newest = all.findLast((other) => formatSource(other.source) === formatSource(key))?.id;
    const snapshots = parent ? [parent] : all;
    const wanted = {
      engineId: this.#ctx.engine.info.id,
      source: parent?.source ?? key,
      volumes: source.volumes.map((v) => v.name),
    };
    const found = await findParents(
      (name) => this.#frames.knownManifest(name),
      snapshots,
      wanted,
      this.#env.emit,
    );
    if (!this.#repository.readable && this.#newest !== undefined && found.byVolume.size === 0) {
      const message =
        'this host cannot read the repository and has no cached index of an earlier snapshot: all is read and stored again';
      this.#env.emit({ event: 'warning', message });
    }
    return found;
  }

  async #quiesced(source: ResolvedSource, parents: Parents): Promise<VolumeBackup[]> {
    const mode = this.#options.quiesce;
    if (!mode) return this.#readAll(source, parents);
    const journal = new Journal<QuiesceNote>(`${this.#env.stateDirectory}/${QUIESCE_JOURNAL}`);
    const names = source.volumes.filter((v) => v.bind === undefined).map((v) => v.name);
    const begun = this.#env.clock.now().getTime();
    const halted = await quiesce(this.#ctx.engine, mode, names, journal);
    try {
      return await this.#readAll(source, parents, () => this.#resume(halted, begun));
    } finally {
      await halted.resume();
    }
  }

  async #resume(halted: Quiesced, begun: number): Promise<void> {
    await halted.resume();
    const seconds = ((this.#env.clock.now().getTime() - begun) / 1000).toFixed(1);
    const names = halted.containers.map((c) => c.name).join(', ') || 'no container was running';
    this.#env.emit({
      event: 'info',
      message: `${this.#options.quiesce === 'stop' ? 'stopped' : 'paused'} for ${seconds} s: ${names}`,
    });
  }

  async #readAll(
    source: ResolvedSource,
    parents: Parents,
    onRead?: () => Promise<void>,
  ): Promise<VolumeBackup[]> {
    const results: VolumeBackup[] = [];
    const attachment = planAttachment(source, source.volumes);
    for (const volume of source.volumes) {
      const path = attachment.paths.get(volume.name) as string;
      const { emit } = this.#env;
      const exclude = this.#exclude(volume);
      const listing = await listVolume(this.#ctx, attachment, path, exclude ? { exclude } : {});
      this.#helperTar = listing.helperTar;
      const parent = parents.byVolume.get(volume.name);
      // Inodes and times of another engine's files mean nothing here.
      const full = this.#options.full || listing.plain || parent?.engine.id !== this.#ctx.engine.info.id;
      const reuse = await this.#known.plan(listing, volume.name, parent, full);
      emit({
        event: 'volume-start',
        volume: volume.name,
        action: 'read',
        entries: (reuse?.plan.reading ?? listing).spool.count,
        of: listing.spool.count,
        bytes: (reuse?.plan ?? listing).bytes,
      });
      const isLast = results.length === source.volumes.length - 1;
      const result = await backupVolume(volume, attachment, listing, {
        ctx: this.#ctx,
        writer: this.#frames.writer,
        emit,
        reuse,
        cache: this.#frames.cache,
        ...(isLast && onRead ? { onRead } : {}),
      });
      emit({ event: 'volume-done', volume: volume.name, action: 'read', bytes: result.volume.readBytes });
      for (const warning of result.warnings) emit({ event: 'warning', ...warning });
      results.push(result);
    }
    return results;
  }

  /** volbak's own repository may lie inside a bind mount: it must not eat itself. */
  #exclude(volume: SourceVolume): Exclude | undefined {
    const own: string[] = [];
    const { label } = this.#repository.store;
    if (volume.bind !== undefined && label.startsWith(`${volume.bind.replace(/\/$/, '')}/`)) {
      own.push(`.${label.slice(volume.bind.replace(/\/$/, '').length)}`);
      this.#env.emit({ event: 'info', message: `the repository lies inside ${volume.bind} and is left out` });
    }
    return excludeGlobs(this.#options.exclude, own);
  }

  #manifest(
    source: ResolvedSource,
    key: Source,
    started: Date,
    parents: Parents,
    volumes: VolumeBackup[],
  ): Manifest {
    const { info } = this.#ctx.engine;
    const { container } = source;
    return {
      format: 1,
      id: nextSnapshotId(started, this.#newest),
      source: {
        ...key,
        ...(container
          ? { containerId: container.id, image: container.image, imageId: container.imageId }
          : {}),
        ...(container?.composeProject === undefined ? {} : { composeProject: container.composeProject }),
        ...(container?.composeService === undefined ? {} : { composeService: container.composeService }),
      },
      engine: { id: info.id, name: info.name, version: info.serverVersion },
      started: started.toISOString(),
      finished: this.#env.clock.now().toISOString(),
      parents: parents.names.map(({ id }) => id),
      status: volumes.every((v) => v.complete) ? 'complete' : 'partial',
      warnings: volumes.flatMap((v) => v.warnings),
      tags: this.#options.tags,
      tool: `volbak ${this.#env.version}`,
      helperTar: this.#helperTar,
      leftOut: source.leftOut,
      volumes: volumes.map((v) => v.volume),
    };
  }
}
