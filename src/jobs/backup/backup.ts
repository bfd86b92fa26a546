import { isVolbakError } from '../../core/errors.ts';
import { planQuiesce, type QuiesceMode } from '../../engine/quiesce.ts';
import type { ResolvedSource } from '../../engine/source.ts';
import { nextSnapshotId, type SnapshotName, type Source } from '../../repository/keys.ts';
import type { Manifest } from '../../repository/manifest.ts';
import { formatSource } from '../../repository/references.ts';
import type { Repository } from '../../repository/repository.ts';
import { Session } from '../../repository/session.ts';
import { commitManifest } from '../commit.ts';
import type { EngineContext } from '../engine-context.ts';
import type { JobEnvironment } from '../environment.ts';
import { type FrameStore, openFrameStore } from '../frame-store.ts';
import { type Hooks, hookTarget, NO_HOOKS } from '../hooks.ts';
import { KnownFrames } from './known-frames.ts';
import { findParents, type Parents } from './parents.ts';
import { heldPass, onePass, type PassDeps } from './passes.ts';
import { SourceReader } from './source-reader.ts';
import type { VolumeBackup } from './volume.ts';

export interface BackupOptions {
  quiesce?: QuiesceMode;
  /** What is run in the source container before and after. */
  hooks?: Hooks;
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
  /** How long containers stood still, where they were to: 0 where none was running. */
  downtimeMs?: number;
  /** How many snapshots of its source the repository has with it. */
  ofSource: number;
}

interface Read {
  volumes: VolumeBackup[];
  downtimeMs?: number;
}

interface ManifestParts {
  source: ResolvedSource;
  key: Source;
  started: Date;
  parents: Parents;
  volumes: VolumeBackup[];
  helperTar: string;
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
  /** Snapshots of the source being backed up, oldest first. */
  #before: string[] = [];

  constructor(env: JobEnvironment, ctx: EngineContext, repository: Repository, options: BackupOptions) {
    this.#env = env;
    this.#ctx = ctx;
    this.#repository = repository;
    this.#options = options;
    const held = options.quiesce !== undefined || options.hooks !== undefined;
    this.#frames = openFrameStore(env, repository, { keepIndexes: held });
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
      const reader = this.#reader(source);
      const { volumes, ...held } = await this.#read(reader, source, parents);
      for (const warning of volumes.flatMap((volume) => volume.warnings))
        emit({ event: 'warning', ...warning });
      await this.#frames.writer.flush();
      const run = { source, key, started, parents, volumes, helperTar: reader.helperTar };
      const manifest = this.#manifest(run);
      await commitManifest(this.#repository, manifest, session, this.#env.signal);
      await this.#frames.committed(manifest, clock.now());
      const ofSource = this.#before.length + 1;
      return { manifest, durationMs: clock.now().getTime() - started.getTime(), ...held, ofSource };
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
    const sameSource = all.filter((other) => formatSource(other.source) === formatSource(key));
    this.#before = sameSource.map(({ id }) => id);
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
    if (!this.#repository.readable && this.#before.length > 0 && found.byVolume.size === 0) {
      const message =
        'this host cannot read the repository and has no cached index of an earlier snapshot: all is read and stored again';
      this.#env.emit({ event: 'warning', message });
    }
    return found;
  }

  /** Reads all volumes; where something is to stand still for it, that is told, too. */
  async #read(reader: SourceReader, source: ResolvedSource, parents: Parents): Promise<Read> {
    const { quiesce: mode, hooks = NO_HOOKS, full } = this.#options;
    const [env, ctx, frames, known] = [this.#env, this.#ctx, this.#frames, this.#known];
    const deps: PassDeps = { env, ctx, frames, known, reader, parents: parents.byVolume, full };
    const hooked = hooks.before.length + hooks.after.length > 0;
    if (!mode && !hooked) return { volumes: await onePass(deps) };
    const volumes = source.volumes.map((volume) => volume.bind ?? volume.name);
    const holding = {
      engine: ctx.engine,
      mode,
      volumes,
      hooks,
      target: hookTarget(ctx.engine, source, hooks),
    };
    // Where nobody runs nobody is kept waiting; and what cannot be stopped is known before all is read.
    const waited = hooked || (mode && (await planQuiesce(ctx.engine, mode, volumes)).length > 0);
    const { result, downtimeMs } = await heldPass(deps, holding, waited === true && !full);
    return { volumes: result, downtimeMs };
  }

  #reader(source: ResolvedSource): SourceReader {
    const { exclude } = this.#options;
    const [env, ctx, repository, frames] = [this.#env, this.#ctx, this.#repository, this.#frames];
    return new SourceReader({ env, ctx, repository, frames, exclude }, source);
  }

  #manifest({ source, key, started, parents, volumes, helperTar }: ManifestParts): Manifest {
    const { info } = this.#ctx.engine;
    const { container } = source;
    return {
      format: 1,
      id: nextSnapshotId(started, this.#before.at(-1)),
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
      helperTar,
      leftOut: source.leftOut,
      volumes: volumes.map((v) => v.volume),
    };
  }
}
