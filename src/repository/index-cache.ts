import { createHash, randomBytes } from 'node:crypto';
import { mkdir, readdir, readFile, rename, stat, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { deflateRaw, inflateRaw } from 'node:zlib';
import type { SnapshotName } from './keys.ts';
import { type Manifest, parseManifest } from './manifest.ts';
import { formatSource } from './references.ts';

const compress = promisify(deflateRaw);
const decompress = promisify(inflateRaw);

/** What nobody needs any more stays for a day: another backup may be about to use it. */
const KEPT_MS = 24 * 3600_000;

/**
 * Frames of indexes and manifests on this host, as their backups wrote them. Saves fetching a parent's index from a distant
 * store, and is all that a host has which can write an encrypted repository, but not read it. Only a cache: what it does
 * not hold, or what is damaged in it, costs a full read, never content.
 */
export class IndexCache {
  readonly #frames: string;
  readonly #manifests: string;
  #known: Set<string> | undefined;

  /** `cacheDirectory` is volbak's own; `repositoryId` keeps repositories apart. */
  constructor(cacheDirectory: string, repositoryId: string) {
    const directory = join(cacheDirectory, 'indexes', repositoryId);
    this.#frames = join(directory, 'frames');
    this.#manifests = join(directory, 'manifests');
  }

  /** To be called before `has`. */
  async open(): Promise<void> {
    this.#known ??= new Set(await readdir(this.#frames).catch(() => [] as string[]));
  }

  has(sha256: string): boolean {
    return this.#known?.has(sha256) ?? false;
  }

  /** Raw bytes of a frame; undefined where the cache does not have them undamaged. */
  async frame(sha256: string): Promise<Buffer | undefined> {
    try {
      const raw = (await decompress(await readFile(join(this.#frames, sha256)))) as Buffer;
      if (createHash('sha256').update(raw).digest('hex') === sha256) return raw;
    } catch {
      // Gone or damaged.
    }
    this.#known?.delete(sha256);
    return undefined;
  }

  /** Keeps a frame. A cache that cannot be written is none. */
  async keepFrame(sha256: string, raw: Uint8Array): Promise<void> {
    if (this.has(sha256)) return;
    await this.#write(this.#frames, sha256, (await compress(raw, { level: 1 })) as Buffer);
    this.#known?.add(sha256);
  }

  async keepManifest(manifest: Manifest): Promise<void> {
    await this.#write(this.#manifests, `${manifest.id}.json`, Buffer.from(JSON.stringify(manifest)));
  }

  /** The manifest of a snapshot that this host made. */
  async manifest({ source, id }: SnapshotName): Promise<Manifest | undefined> {
    try {
      const manifest = parseManifest(await readFile(join(this.#manifests, `${id}.json`)));
      return formatSource(manifest.source) === formatSource(source) ? manifest : undefined;
    } catch {
      return undefined;
    }
  }

  /** Removes what only older snapshots of the sources need. */
  async tidy(now: Date): Promise<void> {
    const newest = new Map<string, Manifest>();
    const superseded: string[] = [];
    for (const name of (await readdir(this.#manifests).catch(() => [] as string[])).sort()) {
      const path = join(this.#manifests, name);
      try {
        const manifest = parseManifest(await readFile(path));
        const source = formatSource(manifest.source);
        const before = newest.get(source);
        if (before) superseded.push(join(this.#manifests, `${before.id}.json`));
        newest.set(source, manifest);
      } catch {
        superseded.push(path);
      }
    }
    const needed = new Set<string>();
    for (const { volumes } of newest.values())
      for (const { index } of volumes) for (const [, , , , sha256] of index) needed.add(sha256);
    const frames = await readdir(this.#frames).catch(() => [] as string[]);
    const unneeded = frames.filter((name) => !needed.has(name)).map((name) => join(this.#frames, name));
    for (const path of [...superseded, ...unneeded]) {
      const age = now.getTime() - ((await stat(path).catch(() => undefined))?.mtimeMs ?? 0);
      if (age > KEPT_MS) await unlink(path).catch(() => {});
    }
  }

  async #write(directory: string, name: string, bytes: Buffer): Promise<void> {
    const temporary = join(directory, `.${randomBytes(6).toString('hex')}`);
    try {
      await mkdir(directory, { recursive: true, mode: 0o700 });
      await writeFile(temporary, bytes, { mode: 0o600 });
      await rename(temporary, join(directory, name));
    } catch {
      await unlink(temporary).catch(() => {});
    }
  }
}
