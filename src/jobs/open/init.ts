import { generateIdentity, isRecipient, type KeyHolder, recipientOf } from '../../core/age.ts';
import { VolbakError } from '../../core/errors.ts';
import type { EncryptionPlan } from '../../repository/descriptor.ts';
import { KeySlots } from '../../repository/key-slots.ts';
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

/** How to make a repository that these can open. `store` is what lies below the encryption. */
export async function planEncryption(store: Store, holders: readonly KeyHolder[]): Promise<InitPlan> {
  const identity = await generateIdentity();
  const slots = new KeySlots(store);
  const names: string[] = [];
  return {
    names,
    encryption: { scheme: 'age', recipient: await recipientOf(identity) },
    async putKeys(repositoryId) {
      for (const holder of holders) names.push(await slots.add(identity, repositoryId, holder));
    },
    async removeKeys() {
      for (const name of names) await slots.discard(name);
    },
  };
}
