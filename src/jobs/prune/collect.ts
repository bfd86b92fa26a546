import { putDoomed, readDoomed, removeDoomed } from '../../repository/doomed.ts';
import { segmentKey } from '../../repository/keys.ts';
import { addPruned, readPruned } from '../../repository/pruned.ts';
import type { Session } from '../../repository/session.ts';
import { readSessions, type SeenSession } from '../../repository/sessions.ts';
import type { Store } from '../../store/store.ts';
import type { Look, Lookout } from './look.ts';
import type { Condemned } from './survey.ts';

export interface Deleted {
  segments: number;
  bytes: number;
  /** Ids of snapshots of which nothing is left. */
  snapshots: string[];
  /** Ids of dead sessions. */
  sessions: string[];
}

/** Requests under way at once; one S3 batch. */
const BATCH = 500;

interface Spoils {
  segments: { name: string; size: number }[];
  condemned: Condemned[];
  sessions: SeenSession[];
}

/**
 * Deletes what a look found, in steps that each close a race (format.md): a note of what is to go; a second look, that spares
 * what is needed by now; the note with what is left; the deletes, for as long as the session lives; the note's end.
 */
export async function collect(
  store: Store,
  session: Session,
  lookout: Lookout,
  first: Look,
  signal: AbortSignal,
): Promise<Deleted> {
  const candidates = first.judgement.victims.map(({ name }) => name);
  const before = await readPruned(store);
  await putDoomed(store, session.id, candidates);
  let deleting = false;
  try {
    const spoils = spare(first, await lookout.look());
    // Whoever dies later leaves a note that names nothing but what was free to go.
    if (spoils.segments.length < candidates.length) {
      const left = spoils.segments.map(({ name }) => name);
      await putDoomed(store, session.id, left);
    }
    await session.check();
    const ended = endedSnapshots(first, spoils);
    if (ended.length > 0) await addPruned(store, session.id, before, ended);
    deleting = true;
    await removeAll(store, spoils, session, signal);
    await removeDoomed(store, session.id);
    deleting = false;
    await removeOldNotes(store, session, first, spoils);
    return {
      segments: spoils.segments.length,
      bytes: spoils.segments.reduce((sum, { size }) => sum + size, 0),
      snapshots: ended,
      sessions: spoils.sessions.map(({ id }) => id),
    };
  } catch (error) {
    // A delete that was sent may still be carried out: then the note stays for a later prune to end.
    if (!deleting) await removeDoomed(store, session.id).catch(() => {});
    throw error;
  }
}

/** What both looks let go. */
function spare(first: Look, second: Look): Spoils {
  const segments = new Set(second.judgement.victims.map(({ name }) => name));
  const copies = new Set(second.judgement.condemned.map(({ key }) => key));
  const dead = new Map(second.liveness.dead.map((session) => [session.id, session]));
  return {
    segments: first.judgement.victims.filter(({ name }) => segments.has(name)),
    condemned: first.judgement.condemned.filter(({ key }) => copies.has(key)),
    sessions: first.liveness.dead.flatMap(({ id }) => dead.get(id) ?? []),
  };
}

/** Snapshots whose last copy goes. */
function endedSnapshots({ found }: Look, { condemned }: Spoils): string[] {
  const going = new Set(condemned.map(({ key }) => key));
  const staying = new Set([
    ...found.snapshots.map(({ id }) => id),
    ...found.condemned.filter(({ key }) => !going.has(key)).map(({ name }) => name.id),
  ]);
  return [...new Set(condemned.map(({ name }) => name.id))].filter((id) => !staying.has(id));
}

async function removeAll(store: Store, spoils: Spoils, session: Session, signal: AbortSignal): Promise<void> {
  // Dead sessions first: one that wakes up finds that it was taken for dead before it can rely on anything.
  const keys = [
    ...spoils.sessions.flatMap(({ keys }) => keys),
    ...spoils.segments.map(({ name }) => segmentKey(name)),
    ...spoils.condemned.map(({ key }) => key),
  ];
  for (let at = 0; at < keys.length; at += BATCH) {
    signal.throwIfAborted();
    // Who slept so long that another prune removed his note and session must not go on deleting.
    await session.check();
    await Promise.all(keys.slice(at, at + BATCH).map((key) => store.delete(key)));
  }
}

/**
 * Removes notes of prunes that died. Each may yet wake up and delete what its note names: so the note stays while it names a
 * segment that stands and that no snapshot needs (a later prune deletes that), and keeps backups from using it.
 */
async function removeOldNotes(store: Store, own: Session, first: Look, spoils: Spoils): Promise<void> {
  const notes = (await readDoomed(store)).filter(({ owner }) => owner !== own.id);
  if (notes.length === 0) return;
  const alive = new Set((await readSessions(store)).map(({ id }) => id));
  const gone = new Set(spoils.segments.map(({ name }) => name));
  const standing = new Set(first.segments.map(({ name }) => name).filter((name) => !gone.has(name)));
  for (const { key, owner, segments } of notes) {
    if (alive.has(owner)) continue;
    if (segments.every((name) => !standing.has(name) || first.found.needed.has(name)))
      await store.delete(key);
  }
}
