import { isVolbakError, VolbakError } from '../core/errors.ts';
import { readAhead } from '../core/read-ahead.ts';
import type { Store } from '../store/store.ts';
import { type Descriptor, type EncryptionPlan, initRepository, readDescriptor } from './descriptor.ts';
import { manifestKey, parseManifestKey, SNAPSHOTS, type SnapshotName } from './keys.ts';
import { decodeManifest, encodeManifest, type Manifest } from './manifest.ts';

/** How a repository is opened, beyond where it lies: with which keys, and whom it trusts. */
export interface RepositoryAccess {
  /** The store to use once the descriptor is known; raises WRONG_KEY where this repository is not to be used. */
  openStore(store: Store, descriptor: Descriptor, created: boolean): Promise<Store>;
  /** False where only writing is possible: the repository is encrypted, and no identity was given. */
  readonly readable?: boolean;
  /** Signs a manifest that is about to be written. */
  sign?(manifest: Manifest): Promise<Manifest>;
  /** Raises WRONG_KEY where a manifest's writer is not to be trusted. */
  judge?(manifest: Manifest): Promise<void>;
}

/** Enough for a repository that is not encrypted. */
const PLAIN: RepositoryAccess = {
  async openStore(store, { encryption }) {
    if (encryption === null) return store;
    throw new VolbakError('WRONG_KEY', `the repository in ${store.label} is encrypted`);
  },
};
/** No manifest takes more than this in the store: it would be read into memory at once. */
const MAX_STORED_MANIFEST = 256 * 1024 * 1024;

/** An open repository: a descriptor, snapshots and the store they lie in. */
export class Repository {
  readonly store: Store;
  readonly descriptor: Descriptor;
  readonly #access: RepositoryAccess;
  /** Keys of what was listed as far too large to be a manifest. */
  readonly #oversized = new Set<string>();

  private constructor(store: Store, descriptor: Descriptor, access: RepositoryAccess) {
    this.store = store;
    this.descriptor = descriptor;
    this.#access = access;
  }

  /** Raises REPOSITORY_MISSING where there is none, WRONG_KEY where it must not or cannot be opened. */
  static async open(store: Store, access = PLAIN): Promise<Repository> {
    const descriptor = await readDescriptor(store);
    if (!descriptor) {
      throw new VolbakError('REPOSITORY_MISSING', `there is no volbak repository in ${store.label}`, {
        hint: 'Name it with --repo or VOLBAK_REPO; `volbak backup` or `volbak init` makes one.',
      });
    }
    return new Repository(await access.openStore(store, descriptor, false), descriptor, access);
  }

  /** Opens, or makes a new one in an absent or empty place: encrypted where there is a plan for it. */
  static async openOrInit(
    store: Store,
    now: Date,
    access = PLAIN,
    plan?: EncryptionPlan,
  ): Promise<{ repository: Repository; created: boolean }> {
    const { descriptor, created } = await initRepository(store, now, plan);
    const opened = await access.openStore(store, descriptor, created);
    return { repository: new Repository(opened, descriptor, access), created };
  }

  /** False where manifests and frames cannot be read: `get` raises WRONG_KEY. Keys can be listed all the same. */
  get readable(): boolean {
    return this.#access.readable ?? true;
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

  /** Raises SNAPSHOT_NOT_FOUND, INTEGRITY, or WRONG_KEY where its writer is not to be trusted. */
  async manifest(name: SnapshotName): Promise<Manifest> {
    return (await this.manifestAndBytes(name)).manifest;
  }

  /** A manifest with the bytes that it was read from. Raises what `manifest` does. */
  async manifestAndBytes({ source, id }: SnapshotName): Promise<{ manifest: Manifest; stored: Buffer }> {
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
    await this.#access.judge?.(manifest);
    return { manifest, stored };
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

  /**
   * Makes a snapshot exist: called last, after everything it names is durable. A manifest that is signed already, a copy's,
   * keeps its signature.
   */
  async commit(manifest: Manifest, signal?: AbortSignal): Promise<void> {
    const signed = manifest.signature ? manifest : ((await this.#access.sign?.(manifest)) ?? manifest);
    const bytes = await encodeManifest(signed);
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
