import { createCipheriv, createDecipheriv, createHash, createHmac, hkdfSync } from 'node:crypto';
import { VolbakError } from '../core/errors.ts';
import type { GetOptions, PutOptions, Store, StoredObject } from './store.ts';
import { StoreWrapper } from './wrapper.ts';

/** Length of a names key in bytes. */
export const NAMES_KEY = 32;
const IV = 16;
/** Names are filled up to a multiple of this, so that their length tells little. */
const BLOCK = 32;
/** What a file system takes as a name. */
const MAX_PART = 255;

/** What a descriptor says of a names key: enough to recognise it. */
export function namesKeyHash(key: Buffer): string {
  return createHash('sha256').update('volbak names 1\n').update(key).digest('hex');
}

/**
 * Hides parts of keys: the same part under the same key always looks the same, and only who has the key can tell which it
 * is. The nonce is a keyed hash of what is hidden (the construction of SIV), so it also proves what comes back.
 */
export class NameCipher {
  readonly #hashKey: Buffer;
  readonly #cipherKey: Buffer;

  constructor(key: Buffer) {
    this.#hashKey = Buffer.from(hkdfSync('sha256', key, '', 'volbak names hash', 32));
    this.#cipherKey = Buffer.from(hkdfSync('sha256', key, '', 'volbak names cipher', 32));
  }

  /** `level` is the place of the part in its key: equal parts of other levels look different. */
  hide(part: string, level: number): string {
    const plain = Buffer.alloc(Math.ceil(part.length / BLOCK) * BLOCK);
    plain.write(part, 'latin1');
    const iv = this.#iv(plain, level);
    const cipher = createCipheriv('aes-256-ctr', this.#cipherKey, iv);
    const hidden = Buffer.concat([iv, cipher.update(plain), cipher.final()]).toString('base64url');
    if (hidden.length <= MAX_PART) return hidden;
    throw new VolbakError('USAGE', `'${part}' is too long a name for a repository that hides names`, {
      hint: 'Give the container or volume a name of at most 160 characters.',
    });
  }

  /** Undefined for what another key hid, or nobody. */
  reveal(hidden: string, level: number): string | undefined {
    const bytes = Buffer.from(hidden, 'base64url');
    if (bytes.length <= IV || bytes.toString('base64url') !== hidden) return undefined;
    const iv = bytes.subarray(0, IV);
    const decipher = createDecipheriv('aes-256-ctr', this.#cipherKey, iv);
    const plain = Buffer.concat([decipher.update(bytes.subarray(IV)), decipher.final()]);
    if (!this.#iv(plain, level).equals(iv)) return undefined;
    const end = plain.indexOf(0);
    return plain.toString('latin1', 0, end < 0 ? plain.length : end);
  }

  #iv(plain: Buffer, level: number): Buffer {
    return createHmac('sha256', this.#hashKey)
      .update(Buffer.from([level]))
      .update(plain)
      .digest()
      .subarray(0, IV);
  }
}

/** `<folder>/<host>/<kind>/<name>/<rest>`: the parts in the middle are names. */
const NAMED = /^(snapshots|condemned)\/([^/]+)\/([^/]+)\/([^/]+)\/([^/]+)$/;

/** Hides the names of sources in keys of manifests. Whoever lists sees keys as if nothing were hidden. */
export class OpaqueStore extends StoreWrapper {
  readonly #cipher: NameCipher;

  constructor(inner: Store, key: Buffer) {
    super(inner);
    this.#cipher = new NameCipher(key);
  }

  override async put(key: string, bytes: Uint8Array, options?: PutOptions): Promise<void> {
    return this.inner.put(this.#hide(key), bytes, options);
  }

  override async get(key: string, options?: GetOptions): Promise<Buffer> {
    return this.inner.get(this.#hide(key), options);
  }

  override async stat(key: string, options?: { signal?: AbortSignal }): Promise<StoredObject> {
    return { ...(await this.inner.stat(this.#hide(key), options)), key };
  }

  /** What was not hidden with this key is listed as it is: a prune must see that there is something it does not know. */
  override async *list(prefix: string, options?: { signal?: AbortSignal }): AsyncIterable<StoredObject> {
    // A prefix that ends within names says nothing about what they look like when hidden.
    const folder = /^(snapshots|condemned)\//.exec(prefix)?.[0];
    for await (const object of this.inner.list(folder ?? prefix, options)) {
      const key = this.#reveal(object.key);
      if (key.startsWith(prefix)) yield { ...object, key };
    }
  }

  override async delete(key: string, options?: { signal?: AbortSignal }): Promise<void> {
    return this.inner.delete(this.#hide(key), options);
  }

  #hide(key: string): string {
    const [, folder, ...parts] = NAMED.exec(key) ?? [];
    if (folder === undefined) return key;
    const rest = parts.pop();
    return [folder, ...parts.map((part, level) => this.#cipher.hide(part, level)), rest].join('/');
  }

  #reveal(key: string): string {
    const [, folder, ...parts] = NAMED.exec(key) ?? [];
    if (folder === undefined) return key;
    const rest = parts.pop();
    const names = parts.map((part, level) => this.#cipher.reveal(part, level));
    return names.includes(undefined) ? key : [folder, ...names, rest].join('/');
  }
}
