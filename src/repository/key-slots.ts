import { type KeyHolder, recipientOf, sealFor, tryOpen } from '../core/age.ts';
import { isVolbakError, VolbakError } from '../core/errors.ts';
import type { Store } from '../store/store.ts';
import type { Encryption } from './descriptor.ts';
import { KEYS } from './keys.ts';

/** One way to open an encrypted repository: `keys/<name>.age`. */
export interface KeySlot {
  name: string;
  kind: 'recipient' | 'passphrase';
  /** When it was put, by the store's clock. */
  added: Date;
}

/** What somebody has to open a repository with; nothing of it is ever printed. */
export interface Secrets {
  /** age identities, `AGE-SECRET-KEY-1…`. */
  identities: readonly string[];
  passphrase?: string;
}

const NAME = /^[a-z0-9][a-z0-9._-]{0,60}$/;

/** The `keys/` of an encrypted repository. `store` is what lies below the encryption. */
export class KeySlots {
  readonly #store: Store;

  constructor(store: Store) {
    this.#store = store;
  }

  /** By name. */
  async list(): Promise<KeySlot[]> {
    const slots: KeySlot[] = [];
    for await (const { key, modified } of this.#store.list(KEYS)) {
      const name = /^keys\/(.+)\.age$/.exec(key)?.[1];
      if (name === undefined || !NAME.test(name)) continue;
      slots.push({ name, kind: kindOf(await this.#store.get(key)), added: modified });
    }
    return slots.sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /**
   * Adds a way to open the repository whose secret half is `identity`; answers with its name, the first free one of
   * `recipient-1`, … unless told. Raises USAGE where the name is taken or cannot be.
   */
  async add(identity: string, repositoryId: string, holder: KeyHolder, name?: string): Promise<string> {
    if (name !== undefined && !NAME.test(name))
      throw new VolbakError('USAGE', `'${name}' cannot be the name of a key`, {
        hint: 'Small letters, digits, dots, hyphens and underscores.',
      });
    const text = `# volbak repository ${repositoryId}\n# public key: ${await recipientOf(identity)}\n${identity}\n`;
    const bytes = await sealFor(Buffer.from(text), holder);
    const kind = 'recipient' in holder ? 'recipient' : 'passphrase';
    for (let number = 1; ; number++) {
      const chosen = name ?? `${kind}-${number}`;
      try {
        await this.#store.put(slotKey(chosen), bytes, { ifAbsent: true });
        return chosen;
      } catch (error) {
        if (!isVolbakError(error, 'STORE_EXISTS')) throw error;
        if (name !== undefined)
          throw new VolbakError('USAGE', `there is a key '${name}' already`, {
            hint: '`volbak key list` shows all.',
          });
      }
    }
  }

  /** Raises USAGE where there is no such key, or no other one. */
  async remove(name: string): Promise<void> {
    const slots = await this.list();
    if (!slots.some((slot) => slot.name === name))
      throw new VolbakError('USAGE', `there is no key '${name}'`, {
        hint: `There is ${slots.map((slot) => slot.name).join(', ') || 'none'}.`,
      });
    const last = new VolbakError(
      'USAGE',
      `'${name}' is the last key: without it nobody could read anything`,
      {
        hint: 'Add another one first: `volbak key add`.',
      },
    );
    if (slots.length === 1) throw last;
    const bytes = await this.#store.get(slotKey(name));
    await this.#store.delete(slotKey(name));
    // Another remove may have taken the others at the same moment.
    if ((await this.list()).length > 0) return;
    await this.#store.put(slotKey(name), bytes);
    throw last;
  }

  async discard(name: string): Promise<void> {
    await this.#store.delete(slotKey(name));
  }

  /** The repository's secret half; undefined where these secrets open none of its keys. */
  async unlock(secrets: Secrets, { recipient }: Encryption): Promise<string | undefined> {
    for (const identity of secrets.identities)
      if ((await recipientOf(identity)) === recipient) return identity;
    const slots = await this.list();
    const { identities, passphrase } = secrets;
    const tries: [KeySlot['kind'], Parameters<typeof tryOpen>[1]][] = [];
    if (identities.length > 0) tries.push(['recipient', { identities }]);
    if (passphrase !== undefined) tries.push(['passphrase', { passphrase }]);
    for (const [kind, keys] of tries) {
      for (const { name } of slots.filter((slot) => slot.kind === kind)) {
        const identity = identityIn(await tryOpen(await this.#store.get(slotKey(name)), keys));
        // A store can put keys there that lead to an identity of its own.
        if (identity && (await recipientOf(identity).catch(() => '')) === recipient) return identity;
      }
    }
    return undefined;
  }
}

function slotKey(name: string): string {
  return `${KEYS}${name}.age`;
}

function kindOf(stored: Buffer): KeySlot['kind'] {
  const [, stanza = ''] = stored.toString('latin1', 0, 200).split('\n');
  return stanza.startsWith('-> scrypt ') ? 'passphrase' : 'recipient';
}

function identityIn(content: Buffer | undefined): string | undefined {
  return content
    ?.toString('utf8')
    .split('\n')
    .find((line) => line.startsWith('AGE-SECRET-KEY-1'))
    ?.trim();
}
