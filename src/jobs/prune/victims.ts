import type { StoredObject } from '../../store/store.ts';
import type { Liveness } from './liveness.ts';
import type { Condemned, Survey } from './survey.ts';

export interface VictimRules {
  /** The store's clock, in milliseconds. */
  now: number;
  /** Nothing counts as older than this moment of the store's clock. */
  jumped: number | undefined;
  /** How long what nobody needs stays, in milliseconds. */
  graceMs: number;
  /** Sources whose newest snapshot shrank: what was forgotten of them stays. */
  shrunk: ReadonlySet<string>;
  sourceOf(name: Condemned['name']): string;
}

/** Why something that no snapshot needs stays yet. */
export type Reason = 'grace' | 'session' | 'shrunk';

export interface Held {
  reason: Reason;
  /** Milliseconds by the store's clock; absent where no time can be told. */
  until?: number;
}

export interface Judgement {
  /** Names of segments that may go. */
  victims: { name: string; size: number }[];
  /** Manifests that may go. */
  condemned: Condemned[];
  /** Segments that no snapshot needs and that stay for now. */
  pending: { name: string; size: number; held: Held }[];
}

interface SegmentObject extends Pick<StoredObject, 'size' | 'modified'> {
  name: string;
}

/**
 * What a prune may delete (format.md, "Prune"): segments that no snapshot, no condemned manifest younger than the grace and
 * no live session needs, and that are older than the grace and than every live session.
 */
export function judge(
  found: Survey,
  { live }: Pick<Liveness, 'live'>,
  segments: Iterable<SegmentObject>,
  rules: VictimRules,
): Judgement {
  const used = new Set(live.flatMap(({ uses }) => uses));
  const oldestSession = Math.min(...live.map(({ began }) => began.getTime()));
  const judgement: Judgement = { victims: [], condemned: [], pending: [] };
  const holds = new Map<string, Held>();
  for (const copy of found.condemned) {
    const held = holdOf(copy, used, rules);
    if (!held) judgement.condemned.push(copy);
    else for (const number of copy.segments) hold(holds, found.segmentNames[number] as string, held);
  }
  for (const { name, size, modified } of segments) {
    if (found.needed.has(name)) continue;
    const born = modified.getTime();
    const until = endOfGrace(born, rules);
    if (until > rules.now) hold(holds, name, { reason: 'grace', until });
    if (born >= oldestSession) hold(holds, name, { reason: 'session' });
    const held = holds.get(name);
    if (held) judgement.pending.push({ name, size, held });
    else judgement.victims.push({ name, size });
  }
  return judgement;
}

function holdOf(copy: Condemned, used: ReadonlySet<string>, rules: VictimRules): Held | undefined {
  if (used.has(copy.name.id)) return { reason: 'session' };
  if (rules.shrunk.has(rules.sourceOf(copy.name))) return { reason: 'shrunk' };
  const until = endOfGrace(copy.modified, rules);
  return until > rules.now ? { reason: 'grace', until } : undefined;
}

function endOfGrace(born: number, { graceMs, jumped }: VictimRules): number {
  return Math.max(born, jumped ?? Number.NEGATIVE_INFINITY) + graceMs;
}

/** Of several reasons the one that lasts longest; one without an end lasts longer than any. */
function hold(holds: Map<string, Held>, segment: string, held: Held): void {
  const before = holds.get(segment);
  const end = ({ until }: Held) => until ?? Number.POSITIVE_INFINITY;
  if (!before || end(held) > end(before)) holds.set(segment, held);
}
