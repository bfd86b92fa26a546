import type { Stopwatch } from '../../core/stopwatch.ts';
import { HEARTBEAT_MS, STALE_MS } from '../../repository/session.ts';
import type { SeenSession } from '../../repository/sessions.ts';
import type { Memory } from './memory.ts';

type Watches = Memory['sessions'];

export interface Liveness {
  live: SeenSession[];
  dead: SeenSession[];
  /** Of the live ones those that look dead by the store's clock alone, with how long to watch them yet, in milliseconds. */
  suspects: { session: SeenSession; waitMs: number }[];
  /** What to remember. */
  watches: Watches;
}

/** How long a session must show nothing new to our own eyes. */
const WATCH_MS = 2 * HEARTBEAT_MS;

/**
 * Tells live sessions from dead ones: dead is what is stale by the store's clock *and* did not change over two heartbeat
 * intervals of our monotonic clock. The one alone may have jumped, the other knows nothing of the time before.
 */
export function judgeSessions(
  sessions: readonly SeenSession[],
  watches: Watches,
  storeTime: number,
  stopwatch: Stopwatch,
): Liveness {
  const judged: Liveness = { live: [], dead: [], suspects: [], watches: {} };
  for (const session of sessions) {
    const beat = session.keys.at(-1) as string;
    const before = watches[session.id];
    const { boot } = stopwatch;
    const watch =
      before?.beat === beat ? before : { beat, at: stopwatch.now(), ...(boot === undefined ? {} : { boot }) };
    judged.watches[session.id] = watch;
    const waitMs = WATCH_MS - watchedFor(watch, stopwatch);
    const stale = storeTime - session.last.getTime() > STALE_MS;
    if (stale && waitMs <= 0) judged.dead.push(session);
    else judged.live.push(session);
    if (stale && waitMs > 0) judged.suspects.push({ session, waitMs });
  }
  return judged;
}

/**
 * Watched since an earlier start of the machine, it is at least as long as the machine runs now. Where starts cannot be
 * told apart it never ends: then nothing is taken for dead.
 */
function watchedFor(watch: Watches[string], stopwatch: Stopwatch): number {
  if (stopwatch.boot === undefined || watch.boot === undefined) return 0;
  return watch.boot === stopwatch.boot ? stopwatch.now() - watch.at : stopwatch.now();
}
