import { VolbakError } from '../core/errors.ts';
import { type SnapshotName, type Source, timeOfId } from './keys.ts';

/** A source as people read and write it. */
export function formatSource(source: Source): string {
  return `${source.host}/${source.kind}/${source.name}`;
}

/** True where `text` names the source: in full, without the host, or by its name alone. */
function namesSource(text: string, source: Source): boolean {
  const full = formatSource(source);
  return (
    text === full ||
    text === `${source.kind}/${source.name}` ||
    text === source.name ||
    text === `${source.host}/${source.name}`
  );
}

/** Sources that a short name could mean, each once. */
export function matchingSources(text: string, snapshots: readonly SnapshotName[]): Source[] {
  const found = new Map<string, Source>();
  for (const { source } of snapshots) if (namesSource(text, source)) found.set(formatSource(source), source);
  return [...found.values()];
}

function ambiguous(text: string, choices: string[]): VolbakError {
  return new VolbakError(
    'USAGE',
    `'${text}' may mean ${choices.length} things: ${choices.slice(0, 5).join(', ')}`,
    {
      hint: 'Write more of it.',
    },
  );
}

function notFound(reference: string, what: string, snapshots: readonly SnapshotName[]): VolbakError {
  const known = [...new Set(snapshots.map((s) => formatSource(s.source)))].slice(0, 8);
  return new VolbakError('SNAPSHOT_NOT_FOUND', `no snapshot matches '${reference}': ${what}`, {
    hint:
      known.length === 0
        ? 'The repository holds no snapshots yet.'
        : `It holds snapshots of ${known.join(', ')}.`,
  });
}

/**
 * The one snapshot that a reference means: an id or a unique prefix; `latest`; `<source>`, `<source>@latest`,
 * `<source>@<id or prefix>`, `<source>@<date>` (the last one up to the end of that day or moment, UTC).
 * `snapshots` are oldest first. Raises SNAPSHOT_NOT_FOUND or USAGE where it is ambiguous.
 */
export function resolveReference(reference: string, snapshots: readonly SnapshotName[]): SnapshotName {
  if (reference === 'latest') {
    const last = snapshots.at(-1);
    if (!last) throw notFound(reference, 'there are none', snapshots);
    return last;
  }
  const at = reference.lastIndexOf('@');
  if (at < 0) return bySourceOrId(reference, snapshots);
  const source = oneSource(reference.slice(0, at), reference, snapshots);
  const own = snapshots.filter((s) => formatSource(s.source) === formatSource(source));
  return within(reference.slice(at + 1), reference, own, snapshots);
}

function bySourceOrId(reference: string, snapshots: readonly SnapshotName[]): SnapshotName {
  const sources = matchingSources(reference, snapshots);
  if (sources.length > 1) throw ambiguous(reference, sources.map(formatSource));
  const [source] = sources;
  if (source)
    return snapshots.findLast((s) => formatSource(s.source) === formatSource(source)) as SnapshotName;
  const byId = snapshots.filter(
    (s) => reference.length >= 4 && s.id.toLowerCase().startsWith(reference.toLowerCase()),
  );
  if (byId.length > 1)
    throw ambiguous(
      reference,
      byId.map((s) => s.id),
    );
  const [one] = byId;
  if (!one) throw notFound(reference, 'neither a source nor an id', snapshots);
  return one;
}

function oneSource(text: string, reference: string, snapshots: readonly SnapshotName[]): Source {
  const sources = matchingSources(text, snapshots);
  if (sources.length > 1) throw ambiguous(text, sources.map(formatSource));
  const [source] = sources;
  if (!source) throw notFound(reference, `no source '${text}'`, snapshots);
  return source;
}

function within(
  what: string,
  reference: string,
  own: readonly SnapshotName[],
  all: readonly SnapshotName[],
): SnapshotName {
  if (what === 'latest') return own.at(-1) as SnapshotName;
  const until = endOfMoment(what);
  if (until) {
    const found = own.findLast((s) => timeOfId(s.id) <= until);
    if (!found) throw notFound(reference, `none up to ${what}`, all);
    return found;
  }
  const byId = own.filter((s) => what !== '' && s.id.toLowerCase().startsWith(what.toLowerCase()));
  if (byId.length > 1)
    throw ambiguous(
      what,
      byId.map((s) => s.id),
    );
  const [one] = byId;
  if (!one) throw notFound(reference, `no id begins with '${what}'`, all);
  return one;
}

/** The last moment that a date or time means: "2026-11-20" is all of that day. */
function endOfMoment(text: string): Date | undefined {
  if (!/^\d{4}-\d\d-\d\d/.test(text)) return undefined;
  const day = /^\d{4}-\d\d-\d\d$/.test(text);
  const zoned = /(Z|[+-]\d\d:?\d\d)$/.test(text.slice(10));
  const date = new Date(day ? `${text}T23:59:59.999Z` : zoned ? text : `${text}Z`);
  return Number.isNaN(date.getTime()) ? undefined : date;
}
