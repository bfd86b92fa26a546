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

/** A field more may mean that something must be read in another way. */
const encryptionSchema = z.strictObject({
  scheme: z.literal('age'),
  recipient: z.string().regex(/^age1[02-9ac-hj-np-z]{58}$/),
  /** Where names in keys are hidden: by which key, as its hash. */
  names: z
    .string()
    .regex(/^[0-9a-f]{64}$/)
    .optional(),
});

/** To what everything in a repository is encrypted: the public half of its own X25519 identity. */
export type Encryption = z.infer<typeof encryptionSchema>;

export interface Descriptor {
  format: 1;
  id: string;
  created: string;
  cut: 1;
  encryption: Encryption | null;
}

/** How an encrypted repository is made: its keys are in the store before its descriptor is. */
export interface EncryptionPlan {
  encryption: Encryption;
  putKeys(repositoryId: string): Promise<void>;
  /** Takes back what `putKeys` put: another descriptor stands, or not all could be put. */
  removeKeys(): Promise<void>;
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
  if (value.format !== 1) throw newer(store, `has format ${value.format},`);
  const { id, created, cut, encryption } = parse(bytes, store, schema);
  if (cut !== 1) throw newer(store, `cuts frames in way ${cut},`);
  const known = encryptionSchema.nullable().safeParse(encryption);
  if (!known.success) throw newer(store, 'is encrypted in a way');
  return { format: 1, id, created, cut: 1, encryption: known.data };
}

function newer(store: Store, what: string): VolbakError {
  return new VolbakError(
    'REPOSITORY_INVALID',
    `the repository in ${store.label} ${what} which this volbak does not know`,
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

/** A repository's descriptor, and whether this call made it. */
export interface Made {
  descriptor: Descriptor;
  created: boolean;
}

/**
 * Makes a repository in an absent or empty place. Where two do so at once, both end up with the one whose
 * descriptor stands. Raises REPOSITORY_INVALID where something else lies there.
 */
export async function initRepository(store: Store, now: Date, plan?: EncryptionPlan): Promise<Made> {
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
  return putDescriptor(store, now, plan);
}

async function putDescriptor(store: Store, now: Date, plan: EncryptionPlan | undefined): Promise<Made> {
  const id = randomUUID();
  const encryption = plan?.encryption ?? null;
  const fresh = { format: 1, id, created: now.toISOString(), cut: 1, encryption };
  await plan?.putKeys(id).catch(async (error: unknown) => {
    await plan.removeKeys().catch(() => {});
    throw error;
  });
  try {
    await store.put(DESCRIPTOR, Buffer.from(`${JSON.stringify(fresh)}\n`), { ifAbsent: true });
  } catch (error) {
    if (!isVolbakError(error, 'STORE_EXISTS')) throw error;
  }
  const descriptor = await readDescriptor(store);
  if (!descriptor) throw new VolbakError('REPOSITORY_INVALID', `${DESCRIPTOR} vanished from ${store.label}`);
  const created = descriptor.id === id;
  if (!created) await plan?.removeKeys();
  return { descriptor, created };
}
