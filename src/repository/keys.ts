import { randomBytes } from 'node:crypto';

/** Whose volumes a snapshot holds. */
export interface Source {
  /** Name of the engine's host. */
  host: string;
  kind: 'container' | 'volume';
  name: string;
}

export const DESCRIPTOR = 'volbak.json';
export const SEGMENTS = 'segments/';
export const SNAPSHOTS = 'snapshots/';
export const SESSIONS = 'sessions/';
export const CONDEMNED = 'condemned/';
export const DOOMED = 'doomed/';
/** Of an encrypted repository: its identity's secret half, once for each who may open it. */
export const KEYS = 'keys/';
export const PRUNED = 'pruned/';
/** What stores are tried out with. */
export const PROBES = 'probe-';

/** What is not encrypted in an encrypted repository: docs/format.md, "Encryption", says why. */
export function isPlainKey(key: string): boolean {
  return key === DESCRIPTOR || [KEYS, SESSIONS, DOOMED, PROBES].some((prefix) => key.startsWith(prefix));
}

/** Segments are named by what is in them, so none is ever replaced by another. */
export function isSegmentKey(key: string): boolean {
  return key.startsWith(SEGMENTS);
}

/** Percent-encodes one part of a key; what is left is safe on every store. */
function encodePart(part: string): string {
  const encoded = encodeURIComponent(part).replace(
    /[!'()*]/g,
    (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`,
  );
  return /^\.+/.test(encoded) ? encoded.replace(/\./g, '%2E') : encoded;
}

/** `<host>/<container or volume>/<name>`, each part percent-encoded. */
export function sourceKey(source: Source): string {
  return [source.host, source.kind, source.name].map(encodePart).join('/');
}

export function segmentKey(name: string): string {
  return `${SEGMENTS}${name.slice(0, 2)}/${name}.zst`;
}

/** SHA-256 of the segment that a key names; undefined for other keys. */
export function parseSegmentKey(key: string): string | undefined {
  return /^segments\/[0-9a-f]{2}\/([0-9a-f]{64})\.zst$/.exec(key)?.[1];
}

export function manifestKey(source: Source, id: string): string {
  return `${SNAPSHOTS}${sourceKey(source)}/${id}.json.zst`;
}

/** A snapshot as its key names it. */
export interface SnapshotName {
  id: string;
  source: Source;
}

/** `condemned/<source>/<id>.<8 hex digits>.json.zst`: several copies of one snapshot stand side by side. */
export function condemnedKey(source: Source, id: string, copy: string): string {
  return `${CONDEMNED}${sourceKey(source)}/${id}.${copy}.json.zst`;
}

/** The snapshot that a key of a manifest names; undefined for other keys. */
export function parseManifestKey(key: string): SnapshotName | undefined {
  return key.startsWith(SNAPSHOTS) ? parseName(key.slice(SNAPSHOTS.length), /^$/) : undefined;
}

/** The snapshot whose manifest a key of a condemned copy names; undefined for other keys. */
export function parseCondemnedKey(key: string): SnapshotName | undefined {
  return key.startsWith(CONDEMNED) ? parseName(key.slice(CONDEMNED.length), /^\.[0-9a-f]{8}$/) : undefined;
}

function parseName(rest: string, copy: RegExp): SnapshotName | undefined {
  const match = /^([^/]+)\/(container|volume)\/([^/]+)\/(\d{8}T\d{6}Z-[0-9a-f]{6})([^/]*)\.json\.zst$/.exec(
    rest,
  );
  if (!match) return undefined;
  const [, host = '', kind = '', name = '', id = '', tail = ''] = match;
  if (!copy.test(tail)) return undefined;
  try {
    return {
      id,
      source: {
        host: decodeURIComponent(host),
        kind: kind as Source['kind'],
        name: decodeURIComponent(name),
      },
    };
  } catch {
    return undefined;
  }
}

/** `20261120T203000Z-4f9c2a`: start in UTC and six random hex digits, so that ids sort by time. */
export function snapshotId(started: Date, random: string): string {
  const stamp = started.toISOString().replace(/[-:]/g, '').replace(/\.\d+/, '');
  return `${stamp}-${random}`;
}

/** Start time that an id holds. */
export function timeOfId(id: string): Date {
  const [, y, mo, d, h, mi, s] = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z/.exec(id) ?? [];
  return new Date(`${y}-${mo}-${d}T${h}:${mi}:${s}Z`);
}

/**
 * The id of a snapshot that starts now. Ids sort by time, in seconds: one that would not come after the source's `newest`
 * gets the second after it.
 */
export function nextSnapshotId(started: Date, newest: string | undefined): string {
  const random = randomBytes(3).toString('hex');
  const id = snapshotId(started, random);
  if (newest === undefined || id > newest) return id;
  return snapshotId(new Date(timeOfId(newest).getTime() + 1000), random);
}
