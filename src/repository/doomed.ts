import { isVolbakError, VolbakError } from '../core/errors.ts';
import type { Store } from '../store/store.ts';
import { DOOMED } from './keys.ts';

/** What one prune is about to delete. */
export interface DoomedNote {
  key: string;
  /** Session of the prune that put it. */
  owner: string;
  segments: string[];
}

function doomedKey(owner: string): string {
  return `${DOOMED}${owner}.json`;
}

/** All notes of prunes; one that went away while it was read was of a prune that ended. Raises INTEGRITY. */
export async function readDoomed(store: Store): Promise<DoomedNote[]> {
  const notes: DoomedNote[] = [];
  for await (const { key } of store.list(DOOMED)) {
    const owner = key.slice(DOOMED.length).replace(/\.json$/, '');
    try {
      const note = JSON.parse((await store.get(key)).toString('utf8')) as { segments?: unknown };
      if (!Array.isArray(note.segments)) throw damaged(store, key);
      notes.push({ key, owner, segments: note.segments.map(String) });
    } catch (error) {
      if (isVolbakError(error, 'STORE_NOT_FOUND')) continue;
      throw isVolbakError(error) ? error : damaged(store, key, error);
    }
  }
  return notes;
}

/** Says, or says anew, which segments the prune of this session will delete. */
export async function putDoomed(store: Store, owner: string, segments: readonly string[]): Promise<void> {
  await store.put(doomedKey(owner), Buffer.from(JSON.stringify({ segments })));
}

export async function removeDoomed(store: Store, owner: string): Promise<void> {
  await store.delete(doomedKey(owner));
}

function damaged(store: Store, key: string, cause?: unknown): VolbakError {
  return new VolbakError('INTEGRITY', `${key} in ${store.label} is damaged`, { cause });
}
