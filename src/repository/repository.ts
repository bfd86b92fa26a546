import { isVolbakError, VolbakError } from '../core/errors.ts';
import { readAhead } from '../core/read-ahead.ts';
import type { Store } from '../store/store.ts';
import { type Descriptor, initRepository, readDescriptor } from './descriptor.ts';
import { manifestKey, parseManifestKey, SNAPSHOTS, type SnapshotName } from './keys.ts';
import { decodeManifest, encodeManifest, type Manifest } from './manifest.ts';

/** No manifest takes more than this in the store: it would be read into memory at once. */
const MAX_STORED_MANIFEST = 256 * 1024 * 1024;

/** An open repository: a descriptor, snapshots and the store they lie in. */
export class Repository {
  readonly store: Store;
  readonly descriptor: Descriptor;
  /** Keys of what was listed as far too large to be a manifest. */
  readonly #oversized = new Set<string>();

  private constructor(store: Store, descriptor: Descriptor) {
    this.store = store;
    this.descriptor = descriptor;
  }

  /** Raises REPOSITORY_MISSING where there is none. */
  static async open(store: Store): Promise<Repository> {
    const descriptor = await readDescriptor(store);
    if (!descriptor) {
      throw new VolbakError('REPOSITORY_MISSING', `there is no volbak repository in ${store.label}`, {
        hint: 'Name it with --repo or VOLBAK_REPO; `volbak backup` or `volbak init` makes one.',
      });
    }
    return new Repository(store, descriptor);
  }

  /** Opens, or makes a new one in an absent or empty place. */
  static async openOrInit(store: Store, now: Date): Promise<{ repository: Repository; created: boolean }> {
    const { descriptor, created } = await initRepository(store, now);
    return { repository: new Repository(store, descriptor), created };
  }

  /** All snapshots by their keys, oldest first. */
  async snapshotNames(): Promise<SnapshotName[]> {
    const names: SnapshotName[] = [];
    for await (const { key, size } of this.store.list(SNAPSHOTS)) {
      if (size > MAX_STORED_MANIFEST) this.#oversized.add(key);
      const name = parseManifestKey(key);
      if (name) names.push(name);
    }
    return names.sort((a, b) => (a.id < b.id ? -1 : a.id > b.id ? 1 : 0));
  }

  /** Raises SNAPSHOT_NOT_FOUND or INTEGRITY. */
  async manifest({ source, id }: SnapshotName): Promise<Manifest> {
    const stored = await this.#stored(source, id);
    const manifest = await decodeManifest(stored, `snapshot ${id}`);
    const same = manifest.source;
    if (
      manifest.id !== id ||
      same.host !== source.host ||
      same.kind !== source.kind ||
      same.name !== source.name
    ) {
      throw new VolbakError('INTEGRITY', `the manifest of snapshot ${id} belongs to another snapshot`);
    }
    return manifest;
  }

  async #stored(source: SnapshotName['source'], id: string): Promise<Buffer> {
    const key = manifestKey(source, id);
    if (this.#oversized.has(key))
      throw new VolbakError('INTEGRITY', `the manifest of snapshot ${id} is too large to be one`);
    try {
      return await this.store.get(key);
    } catch (error) {
      if (!isVolbakError(error, 'STORE_NOT_FOUND')) throw error;
      throw new VolbakError('SNAPSHOT_NOT_FOUND', `snapshot ${id} is not in ${this.store.label} any more`, {
        cause: error,
      });
    }
  }

  /** Manifests of these snapshots, in their order, a few fetched at a time. */
  async *manifests(names: Iterable<SnapshotName>): AsyncGenerator<Manifest> {
    yield* readAhead(toAsync(names), 8, (name) => this.manifest(name));
  }

  /** Makes a snapshot exist: called last, after everything it names is durable. */
  async commit(manifest: Manifest, signal?: AbortSignal): Promise<void> {
    const bytes = await encodeManifest(manifest);
    await this.store.put(manifestKey(manifest.source, manifest.id), bytes, signal ? { signal } : {});
  }

  /** Takes a manifest back whose segments turned out to be gone. */
  async withdraw(manifest: Manifest): Promise<void> {
    await this.store.delete(manifestKey(manifest.source, manifest.id));
  }
}

async function* toAsync<T>(items: Iterable<T>): AsyncGenerator<T> {
  yield* items;
}
