import { randomBytes } from 'node:crypto';
import { isVolbakError } from '../core/errors.ts';
import type { Store } from '../store/store.ts';
import { condemnedKey, manifestKey, type SnapshotName } from './keys.ts';

/**
 * Copies a manifest, as it lies there, to `condemned/`: what it names stays for the grace. The key is new each time, so
 * that no copy ever takes the place of another. Answers with the bytes; undefined where the snapshot is gone.
 */
export async function condemn(store: Store, { source, id }: SnapshotName): Promise<Buffer | undefined> {
  try {
    const bytes = await store.get(manifestKey(source, id));
    await store.put(condemnedKey(source, id, randomBytes(4).toString('hex')), bytes);
    return bytes;
  } catch (error) {
    if (isVolbakError(error, 'STORE_NOT_FOUND')) return undefined;
    throw error;
  }
}
