import { DateTime } from 'luxon';
import { timeOfId } from './keys.ts';

/** How many snapshots of a source stay: of the newest hours, days, … the last one each. */
export interface RetentionRules {
  last?: number;
  hourly?: number;
  daily?: number;
  weekly?: number;
  monthly?: number;
  yearly?: number;
  /** Milliseconds before the source's newest snapshot; not before now, so a source that rests loses nothing. */
  within?: number;
  /** `key` or `key=value`. */
  tags?: readonly string[];
}

/** What the rules look at: one snapshot of a source. */
export interface RetentionCandidate {
  id: string;
  complete: boolean;
  tags: Readonly<Record<string, string>>;
}

export interface Verdict {
  id: string;
  keep: boolean;
  /** The rules that keep it: "daily 2026-11-20"; empty where none does. */
  reasons: string[];
}

/** Part of time that a counting rule keeps one snapshot of. Hours with their offset: one of them comes twice a year. */
const BUCKETS = {
  hourly: "yyyy-MM-dd HH':00'ZZ",
  daily: 'yyyy-MM-dd',
  weekly: "kkkk-'W'WW",
  monthly: 'yyyy-MM',
  yearly: 'yyyy',
} as const;

/** True where at least one rule is given. */
export function hasRules(rules: RetentionRules): boolean {
  const { tags, ...counts } = rules;
  return (tags?.length ?? 0) > 0 || Object.values(counts).some((value) => value !== undefined);
}

/** True if `zone` is a time zone that calendars know here. */
export function isTimeZone(zone: string): boolean {
  return DateTime.local({ zone }).isValid;
}

/**
 * Decides which snapshots of one source stay. `snapshots` are oldest first, and so is the answer. Pure: what it says depends
 * on nothing but its arguments. `zone` is an IANA name: days, weeks and so on begin by its clocks.
 *
 * Snapshots that are not complete use up no place of those that are: they have as many of their own, within the time
 * that the complete ones span, and none where a complete one of the same hour, day, … stands.
 * The last complete snapshot always stays; where there is none, the last one.
 */
export function retain(
  snapshots: readonly RetentionCandidate[],
  rules: RetentionRules,
  zone: string,
): Verdict[] {
  const verdicts = new Map(snapshots.map(({ id }) => [id, { id, keep: false, reasons: [] as string[] }]));
  const keep = (id: string, reason: string) => {
    const verdict = verdicts.get(id) as Verdict;
    verdict.keep = true;
    verdict.reasons.push(reason);
  };
  const newestFirst = [...snapshots].reverse();
  if (rules.last !== undefined)
    for (const { id } of chosen(newestFirst, rules.last, ({ id }) => id)) keep(id, 'last');
  for (const [rule, format] of Object.entries(BUCKETS) as [keyof typeof BUCKETS, string][]) {
    const bucket = ({ id }: RetentionCandidate) => inZone(id, zone).toFormat(format, { locale: 'en-US' });
    const count = rules[rule];
    if (count === undefined) continue;
    for (const snapshot of chosen(newestFirst, count, bucket))
      keep(snapshot.id, `${rule} ${bucket(snapshot)}`);
  }
  for (const snapshot of newestFirst) {
    if (isWithin(snapshot, newestFirst, rules.within)) keep(snapshot.id, 'within');
    for (const tag of rules.tags ?? []) if (hasTag(snapshot, tag)) keep(snapshot.id, `tag ${tag}`);
  }
  const last = newestFirst.find(({ complete }) => complete) ?? newestFirst[0];
  if (last) keep(last.id, last.complete ? 'last complete' : 'none is complete');
  return [...verdicts.values()];
}

/** The newest snapshot of each of the newest `count` buckets: counted by themselves for complete ones and others. */
function chosen(
  newestFirst: readonly RetentionCandidate[],
  count: number,
  bucketOf: (snapshot: RetentionCandidate) => string,
): RetentionCandidate[] {
  const withComplete = new Set(newestFirst.filter((s) => s.complete).map(bucketOf));
  const taken = new Set<string>();
  const kept: RetentionCandidate[] = [];
  let [complete, partial] = [0, 0];
  for (const snapshot of newestFirst) {
    if (complete === count) break;
    const bucket = bucketOf(snapshot);
    if (taken.has(bucket)) continue;
    if (!snapshot.complete && (withComplete.has(bucket) || partial === count)) continue;
    taken.add(bucket);
    kept.push(snapshot);
    if (snapshot.complete) complete++;
    else partial++;
  }
  return kept;
}

function inZone(id: string, zone: string): DateTime {
  return DateTime.fromJSDate(timeOfId(id), { zone });
}

function isWithin(
  { id }: RetentionCandidate,
  newestFirst: readonly RetentionCandidate[],
  within: number | undefined,
): boolean {
  const newest = newestFirst[0];
  if (within === undefined || newest === undefined) return false;
  return timeOfId(newest.id).getTime() - timeOfId(id).getTime() <= within;
}

function hasTag({ tags }: RetentionCandidate, wanted: string): boolean {
  const equals = wanted.indexOf('=');
  return equals < 0 ? wanted in tags : tags[wanted.slice(0, equals)] === wanted.slice(equals + 1);
}
