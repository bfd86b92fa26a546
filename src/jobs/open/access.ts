import { messageOf, VolbakError } from '../../core/errors.ts';
import type { EventSink } from '../../core/events.ts';
import type { Descriptor } from '../../repository/descriptor.ts';
import { KeySlots, type Secrets } from '../../repository/key-slots.ts';
import { isPlainKey, isSegmentKey } from '../../repository/keys.ts';
import type { Manifest } from '../../repository/manifest.ts';
import type { Pin, PinFile } from '../../repository/pins.ts';
import type { RepositoryAccess } from '../../repository/repository.ts';
import { signManifest, writerOf } from '../../repository/signature.ts';
import { loadWriterKey } from '../../repository/writer-key.ts';
import { AgeStore } from '../../store/age.ts';
import { OpaqueStore } from '../../store/opaque.ts';
import type { Store } from '../../store/store.ts';
import { findNamesKey } from './names.ts';

/**
 * What a command will do with a repository. An encrypted one needs an identity to be read; to write, a wrong one is an
 * error and none will do; `append` writes with none also where those given belong to another repository.
 */
export type Need = 'read' | 'write' | 'append';

export interface AccessOptions {
  need: Need;
  pin: PinFile;
  stateDirectory: string;
  /** Read only where a repository is encrypted. */
  secrets(): Promise<Secrets>;
  /** The key that hides names, where the environment gives one. */
  namesKey(): Promise<string | undefined>;
  /** Take unknown writers for known from now on. */
  trust: boolean;
  emit: EventSink;
}

/** Opens with this machine's keys, and holds what it saw first: id, encryption, and the writers of an encrypted one. */
export class PinnedAccess implements RepositoryAccess {
  readonly #options: AccessOptions;
  #pin: Pin | undefined;
  #label = '';
  /** The first command that reads or writes a manifest takes every writer that it meets for known. */
  #learning = false;
  #writing = Promise.resolve();
  readable = true;

  constructor(options: AccessOptions) {
    this.#options = options;
  }

  async openStore(store: Store, descriptor: Descriptor, created: boolean): Promise<Store> {
    this.#label = store.label;
    await this.#checkPin(descriptor, created);
    const { encryption } = descriptor;
    if (encryption === null) return store;
    // What cannot be signed is not to be found out after hours of work.
    if (this.#options.need !== 'read') await loadWriterKey(this.#options.stateDirectory);
    const identity = await this.#unlock(store, encryption.recipient);
    this.readable = identity !== undefined;
    const encrypted = (below: Store) =>
      new AgeStore(below, {
        recipient: encryption.recipient,
        isPlain: isPlainKey,
        isImmutable: isSegmentKey,
        ...(identity === undefined ? {} : { identity }),
      });
    if (encryption.names === undefined) return encrypted(store);
    const key = await findNamesKey({
      ...this.#options,
      repositoryId: descriptor.id,
      hash: encryption.names,
      given: await this.#options.namesKey(),
      readable: identity === undefined ? undefined : encrypted(store),
      label: store.label,
    });
    return encrypted(new OpaqueStore(store, key));
  }

  async sign(manifest: Manifest): Promise<Manifest> {
    await this.#endFirstUse();
    try {
      return signManifest(manifest, await loadWriterKey(this.#options.stateDirectory));
    } catch (error) {
      // Where everybody may write anyway, nobody asks who did.
      if (this.#pin?.encryption) throw error;
      const message = `the snapshot is not signed: ${messageOf(error)}`;
      this.#options.emit({ event: 'warning', message });
      return manifest;
    }
  }

  async judge(manifest: Manifest): Promise<void> {
    const pin = this.#pin;
    if (!pin?.encryption) return;
    const writer = manifest.signature?.key;
    if (writer !== undefined) {
      if (pin.writers?.includes(writer)) return;
      if (await this.#isOwn(writer)) return this.#endFirstUse();
      if (this.#learning || this.#options.trust) return this.#learn(pin, writer);
    } else if (this.#options.trust) return;
    const by = writer === undefined ? 'is not signed' : `was signed by a writer unknown here, ${writer}`;
    throw new VolbakError('WRONG_KEY', `snapshot ${manifest.id} in ${this.#label} ${by}`, {
      hint: `Compare with what \`volbak key list\` shows on the machine that made it; then --trust takes it.`,
    });
  }

  async #isOwn(writer: string): Promise<boolean> {
    const key = await loadWriterKey(this.#options.stateDirectory).catch(() => undefined);
    return key !== undefined && writerOf(key) === writer;
  }

  /** Whoever is met by a later command must be known by then. */
  async #endFirstUse(): Promise<void> {
    if (!this.#pin?.encryption || this.#pin.writers) return;
    this.#pin.writers = [];
    await this.#note(this.#pin);
  }

  async #learn(pin: Pin, writer: string): Promise<void> {
    if (pin.writers?.includes(writer)) return;
    pin.writers = [...(pin.writers ?? []), writer];
    await this.#note(pin);
  }

  /** Manifests are read several at a time; notes are written one after another. */
  #note(pin: Pin): Promise<void> {
    this.#writing = this.#writing.then(() => this.#write(pin));
    return this.#writing;
  }

  /** Raises WRONG_KEY where another repository lies at a place that was used before. */
  async #checkPin({ id, encryption }: Descriptor, created: boolean): Promise<void> {
    const { pin } = this.#options;
    const seen = created ? undefined : await pin.read();
    const recipient = encryption ? [encryption.recipient, encryption.names].filter(Boolean).join(' ') : null;
    if (!seen) {
      // A repository that was just made holds no snapshots: nobody but this machine is known.
      this.#pin = { place: pin.place, id, encryption: recipient, ...(created ? { writers: [] } : {}) };
      await this.#write(this.#pin);
    } else if (seen.id !== id || seen.encryption !== recipient) {
      throw changed(pin, describeChange(seen, { id, encryption: recipient }));
    } else this.#pin = seen;
    this.#learning = this.#pin?.writers === undefined;
  }

  async #write(pin: Pin): Promise<void> {
    try {
      await this.#options.pin.write(pin);
    } catch (error) {
      const message = `what lies in ${this.#label} cannot be remembered for the next time: ${messageOf(error)}`;
      this.#options.emit({ event: 'warning', message });
    }
  }

  /** Raises WRONG_KEY where there is need of an identity and no fitting one. */
  async #unlock(store: Store, recipient: string): Promise<string | undefined> {
    const { need } = this.#options;
    const secrets = await this.#options.secrets();
    const given = secrets.identities.length > 0 || secrets.passphrase !== undefined;
    if (!given && need !== 'read') return undefined;
    const slots = new KeySlots(store);
    const identity = given ? await slots.unlock(secrets, { scheme: 'age', recipient }) : undefined;
    if (identity !== undefined || need === 'append') return identity;
    const names =
      (await slots.list()).map(({ name, kind }) => `${name} (${kind})`).join(', ') || 'no key at all';
    throw new VolbakError(
      'WRONG_KEY',
      `the repository in ${store.label} is encrypted, and ${given ? 'what was given does not open it' : 'no identity was given'}`,
      {
        hint: `VOLBAK_IDENTITY_FILE names an age identity, VOLBAK_PASSPHRASE_FILE a file with the passphrase. It is opened by ${names}.`,
      },
    );
  }
}

function describeChange(seen: Pick<Pin, 'id' | 'encryption'>, now: Pick<Pin, 'id' | 'encryption'>): string {
  if (seen.encryption !== null && now.encryption === null) return 'it was encrypted and is not any more';
  if (seen.id !== now.id) return `it was ${seen.id} and is ${now.id}`;
  return seen.encryption === null ? 'it was not encrypted' : 'it is encrypted to another key';
}

function changed(pin: PinFile, what: string): VolbakError {
  return new VolbakError(
    'WRONG_KEY',
    `the repository in ${pin.place} is not the one that was used before: ${what}`,
    {
      hint: `Find out who changed it. If that was you, remove ${pin.path} and run it again.`,
    },
  );
}

/** Raises WRONG_KEY where an encrypted repository was at this place: a new one there must be made knowingly. */
export async function refuseNewInPlaceOfEncrypted(pin: PinFile): Promise<void> {
  if ((await pin.read())?.encryption) throw changed(pin, 'it was encrypted, and now there is none');
}
