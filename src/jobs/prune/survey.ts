import { isVolbakError, VolbakError } from '../../core/errors.ts';
import { readAhead } from '../../core/read-ahead.ts';
import type { Extent } from '../../core/shrunk.ts';
import {
  CONDEMNED,
  parseCondemnedKey,
  parseManifestKey,
  SNAPSHOTS,
  type SnapshotName,
} from '../../repository/keys.ts';
import { decodeManifest, type Manifest } from '../../repository/manifest.ts';
import { readPruned } from '../../repository/pruned.ts';
import { formatSource } from '../../repository/references.ts';
import type { Repository } from '../../repository/repository.ts';
import { readSessions, type SeenSession } from '../../repository/sessions.ts';
import { extentOf } from '../shrunk.ts';

/** A manifest that a forget or a rewriting took out. */
export interface Condemned {
  key: string;
  name: SnapshotName;
  /** By the store's clock, in milliseconds. */
  modified: number;
  segments: number[];
}

/** One look at all that may need segments. */
export interface Survey {
  sessions: SeenSession[];
  /** Oldest first; `modified` by the store's clock, in milliseconds. */
  snapshots: (SnapshotName & { modified: number })[];
  condemned: Condemned[];
  /** Segments that snapshots need: condemned ones are not among them. */
  needed: Set<string>;
  /** Names of segments by the numbers that `condemned` uses. */
  segmentNames: string[];
  /** The newest snapshot of each source and the one before. */
  newest: Map<string, Extent[]>;
}

/** Manifests read at once. */
const AHEAD = 8;

/**
 * Lists `sessions/`, then `snapshots/`, then `condemned/`, in this order: what moves while one looks moves from an earlier
 * list to a later one. Reads all manifests. Raises INTEGRITY where one cannot be read, REPOSITORY_BUSY where one went
 * away meanwhile and stands in neither place.
 */
export async function survey(repository: Repository, signal: AbortSignal): Promise<Survey> {
  const { store } = repository;
  const sessions = await readSessions(store);
  const snapshots = (await listNames(repository, SNAPSHOTS, parseManifestKey)).sort((a, b) =>
    a.name.id < b.name.id ? -1 : 1,
  );
  const copies = await listNames(repository, CONDEMNED, parseCondemnedKey);
  const found: Survey = {
    sessions,
    snapshots: [],
    condemned: [],
    needed: new Set(),
    segmentNames: [],
    newest: new Map(),
  };
  const moved: SnapshotName[] = [];
  const read = async (listed: Listed) => {
    signal.throwIfAborted();
    return { ...listed, manifest: await readManifest(repository, listed) };
  };
  for await (const { name, modified, manifest } of readAhead(snapshots, AHEAD, read)) {
    if (!manifest) {
      moved.push(name);
      continue;
    }
    found.snapshots.push({ ...name, modified: modified.getTime() });
    for (const volume of manifest.volumes) for (const segment of volume.segments) found.needed.add(segment);
    const source = formatSource(name.source);
    found.newest.set(source, [extentOf(manifest), ...(found.newest.get(source) ?? [])].slice(0, 2));
  }
  // What was forgotten since it was listed is condemned by now.
  const listed = moved.length === 0 ? copies : await listNames(repository, CONDEMNED, parseCondemnedKey);
  await addCondemned(found, readAhead(listed, AHEAD, read));
  await expectFound(repository, moved, found);
  return found;
}

interface Listed {
  key: string;
  modified: Date;
  name: SnapshotName;
}

async function listNames(
  { store }: Repository,
  prefix: string,
  parse: (key: string) => SnapshotName | undefined,
): Promise<Listed[]> {
  const listed: Listed[] = [];
  for await (const { key, modified } of store.list(prefix)) {
    const name = parse(key);
    if (!name)
      throw new VolbakError('INTEGRITY', `${key} in ${store.label} is no manifest that this volbak knows`, {
        hint: 'Nothing was deleted. Use a newer volbak, or remove it if it is not of volbak.',
      });
    listed.push({ key, modified, name });
  }
  return listed;
}

async function readManifest({ store }: Repository, { key, name }: Listed): Promise<Manifest | undefined> {
  try {
    const manifest = await decodeManifest(await store.get(key), `snapshot ${name.id}`);
    const same = manifest.id === name.id && formatSource(manifest.source) === formatSource(name.source);
    if (same) return manifest;
    throw new VolbakError('INTEGRITY', `${key} is the manifest of another snapshot`);
  } catch (error) {
    if (isVolbakError(error, 'STORE_NOT_FOUND')) return undefined;
    if (!isVolbakError(error, 'INTEGRITY')) throw error;
    throw new VolbakError('INTEGRITY', `${key} in ${store.label} cannot be read: ${error.message}`, {
      cause: error,
      hint: 'Nothing was deleted: what it needs is not known. `volbak verify --repair` may bring it back from a copy; else remove it.',
    });
  }
}

async function addCondemned(
  found: Survey,
  read: AsyncIterable<Listed & { manifest: Manifest | undefined }>,
): Promise<void> {
  const numbers = new Map<string, number>();
  for await (const { key, modified, name, manifest } of read) {
    // Another prune was faster: it found that nobody needs it.
    if (!manifest) continue;
    const segments = new Set(manifest.volumes.flatMap((volume) => volume.segments));
    const numbered = [...segments].map((segment) => {
      const number = numbers.get(segment) ?? numbers.size;
      numbers.set(segment, number);
      found.segmentNames[number] = segment;
      return number;
    });
    found.condemned.push({ key, name, modified: modified.getTime(), segments: numbered });
  }
}

async function expectFound(
  { store }: Repository,
  moved: readonly SnapshotName[],
  { condemned }: Survey,
): Promise<void> {
  for (const { id } of moved) {
    if (condemned.some(({ name }) => name.id === id)) continue;
    throw new VolbakError('REPOSITORY_BUSY', `snapshot ${id} in ${store.label} went away while it was read`, {
      hint: 'Nothing was deleted. Run it again.',
    });
  }
}

/** Raises INTEGRITY where ids that stood earlier stand in neither place now, and no prune ended them. */
export async function expectSeen(
  { store }: Repository,
  seen: Iterable<string>,
  { snapshots, condemned }: Survey,
): Promise<void> {
  const standing = new Set([...snapshots, ...condemned.map(({ name }) => name)].map(({ id }) => id));
  let missing = [...seen].filter((id) => !standing.has(id));
  if (missing.length === 0) return;
  const { ids } = await readPruned(store);
  missing = missing.filter((id) => !ids.has(id));
  if (missing.length === 0) return;
  throw new VolbakError(
    'INTEGRITY',
    `${missing.length === 1 ? 'a snapshot that was' : `${missing.length} snapshots that were`} in ${store.label} last time ${missing.length === 1 ? 'is' : 'are'} not there any more, and nobody forgot ${missing.length === 1 ? 'it' : 'them'}: ${missing.slice(0, 5).join(', ')}`,
    {
      hint: 'Nothing was deleted. Is all of the repository there? If they are gone for good, run it once with --accept-missing.',
    },
  );
}
