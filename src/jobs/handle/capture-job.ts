import { messageOf } from '../../core/errors.ts';
import type { EngineConnection } from '../../engine/connect.ts';
import type { ResolvedSource, SourceContainer } from '../../engine/source.ts';
import { nextSnapshotId, type SnapshotName, type Source } from '../../repository/keys.ts';
import type { Manifest, ManifestVolume } from '../../repository/manifest.ts';
import { formatSource } from '../../repository/references.ts';
import type { Repository } from '../../repository/repository.ts';
import { Session, usableSegments } from '../../repository/session.ts';
import { loadParentFrames } from '../backup/parents.ts';
import { commitManifest } from '../commit.ts';
import type { JobEnvironment } from '../environment.ts';
import { type FrameStore, openFrameStore } from '../frame-store.ts';
import { CaptureWriter } from './capture.ts';

/**
 * The source that a captured file belongs to: not the container itself, whose newest snapshot shall stay that of its
 * volumes. No container's name has a colon in it.
 */
function captureSource(host: string, container: string, file: string): Source {
  return { host, kind: 'container', name: `${container}:${file}` };
}

/** Makes a snapshot of what a program prints. */
export class CaptureJob {
  readonly #env: JobEnvironment;
  readonly #engine: EngineConnection;
  readonly #repository: Repository;
  readonly #tags: Record<string, string>;

  constructor(
    env: JobEnvironment,
    engine: EngineConnection,
    repository: Repository,
    tags: Record<string, string>,
  ) {
    this.#env = env;
    this.#engine = engine;
    this.#repository = repository;
    this.#tags = tags;
  }

  /**
   * `run` is given what takes the program's output, and raises where the program failed: then there is no snapshot.
   */
  async run(
    container: ResolvedSource,
    file: string,
    run: (stdout: (stream: AsyncIterable<Buffer>) => Promise<void>) => Promise<void>,
  ): Promise<Manifest> {
    const { clock, emit, signal } = this.#env;
    const { store } = this.#repository;
    const source = captureSource(this.#engine.info.name, container.name, file);
    const started = clock.now();
    emit({ event: 'source', source: formatSource(source), volumes: [file] });
    const newest = (await this.#repository.snapshotNames()).findLast(
      (name) => formatSource(name.source) === formatSource(source),
    );
    const uses = newest ? [newest] : [];
    const session = await Session.begin({ store, kind: 'backup', uses, now: () => clock.now().getTime() });
    const frames = openFrameStore(this.#env, this.#repository);
    try {
      await this.#loadKnown(frames, newest, file);
      const volume = await this.#write(frames, file, started, run);
      await frames.writer.flush();
      const manifest = this.#manifest(
        container.container as SourceContainer,
        source,
        started,
        newest,
        volume,
      );
      await commitManifest(this.#repository, manifest, session, signal);
      await frames.committed(manifest, clock.now());
      return manifest;
    } finally {
      await session.end();
      await frames.close();
    }
  }

  async #loadKnown(frames: FrameStore, newest: SnapshotName | undefined, file: string): Promise<void> {
    const { store } = this.#repository;
    const { pool, cache } = frames;
    await cache?.open();
    const present = await usableSegments(store);
    await frames.resume(present);
    const parent = newest && (await this.#parent(newest, frames));
    if (!parent) return;
    const fetch = { store, pool, signal: this.#env.signal, ...(cache ? { cache } : {}) };
    await loadParentFrames(parent, file, present, frames.writer, fetch, this.#env.emit);
  }

  /** A parent that cannot be read costs space, not the dump. */
  async #parent(newest: SnapshotName, frames: FrameStore): Promise<Manifest | undefined> {
    try {
      return await frames.knownManifest(newest);
    } catch (error) {
      this.#env.signal.throwIfAborted();
      const message = `snapshot ${newest.id} is not used as a parent: ${messageOf(error)}`;
      this.#env.emit({ event: 'warning', message });
      return undefined;
    }
  }

  async #write(
    { writer, cache }: FrameStore,
    file: string,
    started: Date,
    run: (stdout: (stream: AsyncIterable<Buffer>) => Promise<void>) => Promise<void>,
  ): Promise<ManifestVolume> {
    const { emit, signal } = this.#env;
    emit({ event: 'volume-start', volume: file, action: 'capture' });
    const capture = new CaptureWriter(writer, file, started, cache);
    await run(async (stream) => {
      for await (const bytes of stream) {
        signal.throwIfAborted();
        await capture.push(bytes);
        emit({ event: 'progress', volume: file, action: 'capture', done: capture.size });
      }
    });
    const volume = await capture.finish();
    emit({ event: 'volume-done', volume: file, action: 'capture', bytes: capture.size });
    if (capture.size === 0) emit({ event: 'warning', volume: file, message: 'the handler printed nothing' });
    return volume;
  }

  #manifest(
    container: SourceContainer,
    source: Source,
    started: Date,
    newest: SnapshotName | undefined,
    volume: ManifestVolume,
  ): Manifest {
    const { info } = this.#engine;
    const { composeProject, composeService } = container;
    return {
      format: 1,
      id: nextSnapshotId(started, newest?.id),
      source: {
        ...source,
        containerId: container.id,
        image: container.image,
        imageId: container.imageId,
        ...(composeProject === undefined ? {} : { composeProject }),
        ...(composeService === undefined ? {} : { composeService }),
      },
      engine: { id: info.id, name: info.name, version: info.serverVersion },
      started: started.toISOString(),
      finished: this.#env.clock.now().toISOString(),
      parents: newest ? [newest.id] : [],
      status: 'complete',
      warnings: [],
      tags: this.#tags,
      tool: `volbak ${this.#env.version}`,
      helperTar: 'none: captured output',
      leftOut: [],
      volumes: [volume],
    };
  }
}
