import { isVolbakError, VolbakError } from '../core/errors.ts';
import type { Store } from '../store/store.ts';
import { SESSIONS } from './keys.ts';
import { HEARTBEAT_MS } from './session.ts';

/** A session as another program sees it. */
export interface SeenSession {
  id: string;
  kind: string;
  /** Ids of the snapshots that it may use. */
  uses: string[];
  /** Its heartbeats, oldest first. */
  keys: string[];
  /** Nothing of it was stored before this, by the store's clock, whichever way that jumped. */
  began: Date;
  /** When its last heartbeat came, by the store's clock. */
  last: Date;
}

interface Beat {
  key: string;
  modified: Date;
}

/**
 * All sessions that stand now. One that ends while it is read is left out: what it committed was committed before.
 * Raises INTEGRITY where one cannot be read: it may use anything.
 */
export async function readSessions(store: Store): Promise<SeenSession[]> {
  const sessions: SeenSession[] = [];
  for (const [id, beats] of await listBeats(store)) {
    const session = await readSession(store, id, beats);
    if (session) sessions.push(session);
  }
  return sessions;
}

async function listBeats(store: Store): Promise<Map<string, Beat[]>> {
  const sessions = new Map<string, Beat[]>();
  for await (const { key, modified } of store.list(SESSIONS)) {
    const id = /^sessions\/([0-9a-f]{16})\/\d{6,}\.json$/.exec(key)?.[1];
    if (id === undefined)
      throw new VolbakError('INTEGRITY', `${key} in ${store.label} is not a session that this volbak knows`, {
        hint: 'Use a newer volbak, or remove it if it is not of volbak.',
      });
    const beats = sessions.get(id);
    if (beats) beats.push({ key, modified });
    else sessions.set(id, [{ key, modified }]);
  }
  return sessions;
}

async function readSession(store: Store, id: string, beats: Beat[]): Promise<SeenSession | undefined> {
  beats.sort((a, b) => (a.key < b.key ? -1 : 1));
  const newest = beats.at(-1) as Beat;
  const earliest = Math.min(...beats.map(({ modified }) => modified.getTime()));
  try {
    const body = JSON.parse((await store.get(newest.key)).toString('utf8')) as Record<string, unknown>;
    if (!Array.isArray(body.uses)) throw damaged(store, newest.key);
    return {
      id,
      kind: String(body.kind),
      uses: body.uses.map(String),
      keys: beats.map(({ key }) => key),
      // Where the clock was set back, up to a heartbeat may have passed before one tells.
      began: new Date(earliest - HEARTBEAT_MS),
      last: newest.modified,
    };
  } catch (error) {
    if (isVolbakError(error, 'STORE_NOT_FOUND')) return undefined;
    throw isVolbakError(error) ? error : damaged(store, newest.key, error);
  }
}

function damaged(store: Store, key: string, cause?: unknown): VolbakError {
  return new VolbakError('INTEGRITY', `${key} in ${store.label} is damaged`, {
    cause,
    hint: 'If nothing works with the repository, remove it by hand.',
  });
}
