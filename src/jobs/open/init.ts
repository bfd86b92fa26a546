import { randomBytes } from 'node:crypto';
import { generateIdentity, isRecipient, type KeyHolder, recipientOf, seal } from '../../core/age.ts';
import { VolbakError } from '../../core/errors.ts';
import type { EncryptionPlan } from '../../repository/descriptor.ts';
import { KeySlots } from '../../repository/key-slots.ts';
import { formatNamesKey, NAMES_KEY_OBJECT, NamesKeyFile } from '../../repository/names-key.ts';
import { NAMES_KEY, namesKeyHash } from '../../store/opaque.ts';
import type { Store } from '../../store/store.ts';

/** Raises USAGE for what age cannot encrypt to. */
export async function assertRecipients(recipients: readonly string[]): Promise<void> {
  for (const recipient of recipients) {
    if (await isRecipient(recipient)) continue;
    const secret = recipient.startsWith('AGE-SECRET-KEY-');
    throw new VolbakError(
      'USAGE',
      secret ? '--encrypt-to takes the public half, not the identity' : `'${recipient}' is no age recipient`,
      { hint: 'age-keygen prints it: age1…. SSH keys and plugins are not supported.' },
    );
  }
}

/** A new identity for a repository, and who may open it; `names` are filled when its keys are put. */
export interface InitPlan extends EncryptionPlan {
  readonly names: string[];
}

/**
 * How to make a repository that these can open. `store` is what lies below the encryption. With `hideNames` its keys tell
 * no names of hosts, containers and volumes; the key for that is put where who can read finds it, and kept on this machine.
 */
export async function planEncryption(
  store: Store,
  holders: readonly KeyHolder[],
  hideNames?: { stateDirectory: string },
): Promise<InitPlan> {
  const identity = await generateIdentity();
  const recipient = await recipientOf(identity);
  const namesKey = hideNames ? randomBytes(NAMES_KEY) : undefined;
  let putNames = false;
  const namesObject = `${NAMES_KEY_OBJECT}.age`;
  const slots = new KeySlots(store);
  const names: string[] = [];
  return {
    names,
    encryption: { scheme: 'age', recipient, ...(namesKey ? { names: namesKeyHash(namesKey) } : {}) },
    async putKeys(repositoryId) {
      for (const holder of holders) names.push(await slots.add(identity, repositoryId, holder));
      if (!namesKey || !hideNames) return;
      const text = formatNamesKey(namesKey);
      await new NamesKeyFile(hideNames.stateDirectory, repositoryId).write(text);
      await store.put(namesObject, await seal(Buffer.from(text), recipient), { ifAbsent: true });
      putNames = true;
    },
    async removeKeys() {
      if (putNames) await store.delete(namesObject);
      for (const name of names) await slots.discard(name);
    },
  };
}
