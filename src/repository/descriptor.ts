import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import { isVolbakError, VolbakError } from '../core/errors.ts';
import type { Store } from '../store/store.ts';
import { DESCRIPTOR, PROBES } from './keys.ts';

const schema = z.object({
  format: z.literal(1),
  id: z.uuid(),
  created: z.string(),
  cut: z.number(),
  encryption: z.unknown().transform((value) => value ?? null),
});

export interface Descriptor {
  format: 1;
  id: string;
  created: string;
  cut: 1;
}

/** Reads `volbak.json`; undefined where the place holds none. Raises REPOSITORY_INVALID. */
export async function readDescriptor(store: Store): Promise<Descriptor | undefined> {
  let bytes: Buffer;
  try {
    bytes = await store.get(DESCRIPTOR);
  } catch (error) {
    if (isVolbakError(error, 'STORE_NOT_FOUND')) return undefined;
    throw error;
  }
  const value = parse(bytes, store, z.looseObject({ format: z.number() }));
  if (value.format !== 1) throw newer(store, `has format ${value.format}`);
  const { id, created, cut, encryption } = parse(bytes, store, schema);
  if (cut !== 1) throw newer(store, `cuts frames in way ${cut}`);
  if (encryption !== null) throw newer(store, 'is encrypted');
  return { format: 1, id, created, cut: 1 };
}

function newer(store: Store, what: string): VolbakError {
  return new VolbakError(
    'REPOSITORY_INVALID',
    `the repository in ${store.label} ${what}, which this volbak does not know`,
    { hint: 'Use a newer volbak.' },
  );
}

function parse<T extends z.ZodType>(bytes: Buffer, store: Store, shape: T): z.infer<T> {
  try {
    return shape.parse(JSON.parse(bytes.toString('utf8')));
  } catch (error) {
    throw new VolbakError('REPOSITORY_INVALID', `${DESCRIPTOR} in ${store.label} is damaged`, {
      cause: error,
    });
  }
}

/** True if nothing lies in the store but what an attempt on it left where deletes are forbidden. */
export async function isEmpty(store: Store): Promise<boolean> {
  for await (const { key } of store.list('')) if (!key.startsWith(PROBES)) return false;
  return true;
}

/**
 * Makes a repository in an absent or empty place. Where two do so at once, both end up with the one whose
 * descriptor stands. Raises REPOSITORY_INVALID where something else lies there.
 */
export async function initRepository(
  store: Store,
  now: Date,
): Promise<{ descriptor: Descriptor; created: boolean }> {
  const existing = await readDescriptor(store);
  if (existing) return { descriptor: existing, created: false };
  if (!(await isEmpty(store))) {
    // Another one may have made it since the first look.
    const theirs = await readDescriptor(store);
    if (theirs) return { descriptor: theirs, created: false };
    throw new VolbakError(
      'REPOSITORY_INVALID',
      `${store.label} is not empty and holds no volbak repository`,
      {
        hint: 'Choose an empty or new place.',
      },
    );
  }
  const fresh = { format: 1, id: randomUUID(), created: now.toISOString(), cut: 1, encryption: null };
  try {
    await store.put(DESCRIPTOR, Buffer.from(`${JSON.stringify(fresh)}\n`), { ifAbsent: true });
  } catch (error) {
    if (!isVolbakError(error, 'STORE_EXISTS')) throw error;
  }
  const descriptor = await readDescriptor(store);
  if (!descriptor) throw new VolbakError('REPOSITORY_INVALID', `${DESCRIPTOR} vanished from ${store.label}`);
  return { descriptor, created: descriptor.id === fresh.id };
}
