import { isVolbakError, VolbakError } from '../core/errors.ts';
import type { Store } from '../store/store.ts';
import { PRUNED } from './keys.ts';

/** What earlier prunes have ended, so that another host's prune does not take it for lost. */
export interface PrunedNotes {
  keys: string[];
  /** Ids of snapshots whose last copy went. */
  ids: Set<string>;
}

/** All notes together. Raises INTEGRITY. */
export async function readPruned(store: Store): Promise<PrunedNotes> {
  const notes: PrunedNotes = { keys: [], ids: new Set() };
  for await (const { key } of store.list(PRUNED)) {
    try {
      const note = JSON.parse((await store.get(key)).toString('utf8')) as { snapshots?: unknown };
      if (!Array.isArray(note.snapshots)) throw new Error('no list of snapshots');
      for (const id of note.snapshots) notes.ids.add(String(id));
      notes.keys.push(key);
    } catch (error) {
      if (isVolbakError(error, 'STORE_NOT_FOUND')) continue;
      if (isVolbakError(error)) throw error;
      throw new VolbakError('INTEGRITY', `${key} in ${store.label} is damaged`, { cause: error });
    }
  }
  return notes;
}

/** Notes that these went, too; one note takes the place of those read before. */
export async function addPruned(
  store: Store,
  owner: string,
  before: PrunedNotes,
  ids: readonly string[],
): Promise<void> {
  const key = `${PRUNED}${owner}.json`;
  await store.put(key, Buffer.from(JSON.stringify({ snapshots: [...before.ids, ...ids].sort() })));
  for (const old of before.keys) if (old !== key) await store.delete(old);
}
