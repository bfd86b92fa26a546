import { randomBytes } from 'node:crypto';
import type { Store } from '../store/store.ts';
import { PROBES } from './keys.ts';

/** Raises STORE_DENIED where these credentials may not delete: found out before anything is half done. */
export async function expectMayDelete(store: Store): Promise<void> {
  const key = `${PROBES}${randomBytes(8).toString('hex')}`;
  await store.put(key, Buffer.from('delete'));
  await store.delete(key);
}

/** The time by the store's clock, in milliseconds: that of an object which is put for it and removed. */
export async function storeTime(store: Store): Promise<number> {
  const key = `${PROBES}${randomBytes(8).toString('hex')}`;
  await store.put(key, Buffer.from('now'));
  try {
    return (await store.stat(key)).modified.getTime();
  } finally {
    await store.delete(key).catch(() => {});
  }
}
