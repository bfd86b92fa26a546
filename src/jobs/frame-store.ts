import { createFramePool, type FramePool } from '../codec/pool.ts';
import { FrameTable } from '../core/frame-table.ts';
import { FrameWriter } from '../repository/frame-writer.ts';
import { IndexCache } from '../repository/index-cache.ts';
import type { SnapshotName } from '../repository/keys.ts';
import type { Manifest } from '../repository/manifest.ts';
import { PendingFrames } from '../repository/pending.ts';
import type { Repository } from '../repository/repository.ts';
import type { JobEnvironment } from './environment.ts';

/** What a job needs that stores frames: known frames, threads, the writer, and what an interrupted run left to go on with. */
export interface FrameStore {
  table: FrameTable;
  pool: FramePool;
  writer: FrameWriter;
  pending: PendingFrames;
  /** Where it is worth it: the store is far away, or the index is read again at once. */
  cache: IndexCache | undefined;
  /** Makes frames known that interrupted runs stored, as far as their segments are `present`. */
  resume(present: ReadonlySet<string>): Promise<void>;
  /** A snapshot's manifest; a host that may only write knows what it wrote itself, as far as its cache holds it. */
  knownManifest(name: SnapshotName): Promise<Manifest | undefined>;
  /** To be called once a manifest stands: nothing is pending any more, and the next backup finds it in the cache. */
  committed(manifest: Manifest, now: Date): Promise<void>;
  close(): Promise<void>;
}

/** `keepIndexes`: they are needed again soon, whatever the store. */
export function openFrameStore(
  env: JobEnvironment,
  repository: Repository,
  { keepIndexes = false } = {},
): FrameStore {
  const table = FrameTable.create();
  const pool = createFramePool({ table: table.shared });
  const pending = new PendingFrames(env.cacheDirectory, repository.descriptor.id);
  // A host without an identity has nothing else to compare with.
  const worth = keepIndexes || env.cacheIndexes || repository.descriptor.encryption !== null;
  const cache = worth ? new IndexCache(env.cacheDirectory, repository.descriptor.id) : undefined;
  const writer = new FrameWriter({
    store: repository.store,
    pool,
    table,
    signal: env.signal,
    onDurable: (frames) => pending.add(frames),
    ...(env.parallel === undefined ? {} : { parallel: env.parallel }),
  });
  return {
    table,
    pool,
    writer,
    pending,
    cache,
    async resume(present) {
      for (const ref of await pending.load()) if (present.has(ref[0])) writer.addKnown(ref);
    },
    async knownManifest(name) {
      return repository.readable ? repository.manifest(name) : cache?.manifest(name);
    },
    async committed(manifest, now) {
      await pending.forget();
      await cache?.keepManifest(manifest);
      await cache?.tidy(now);
    },
    close: () => pool.close(),
  };
}
