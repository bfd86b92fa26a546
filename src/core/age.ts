import { randomBytes } from 'node:crypto';
import {
  HEADER,
  NONCE,
  openChunks,
  PREFIX,
  payloadKey,
  plainSize,
  sealChunks,
  storedSize,
} from './age-payload.ts';

/** The library makes headers and keys; it is loaded where a repository is encrypted. */
const library = () => import('age-encryption');

/** A new X25519 identity, `AGE-SECRET-KEY-1…`. */
export async function generateIdentity(): Promise<string> {
  return (await library()).generateX25519Identity();
}

/** The public half of an identity, `age1…`. Throws where it is none. */
export async function recipientOf(identity: string): Promise<string> {
  return (await library()).identityToRecipient(identity);
}

/** Whether something can be encrypted to this recipient. */
export async function isRecipient(text: string): Promise<boolean> {
  const { Encrypter } = await library();
  try {
    new Encrypter().addRecipient(text);
    return true;
  } catch {
    return false;
  }
}

/** Whether this is an identity that can decrypt. */
export async function isIdentity(text: string): Promise<boolean> {
  try {
    await recipientOf(text);
    return true;
  } catch {
    return false;
  }
}

/** A whole age file to one X25519 recipient, with a file key of its own. */
export async function seal(plain: Uint8Array, recipient: string): Promise<Buffer> {
  const { header, fileKey } = await makeHeader(recipient);
  const out = Buffer.allocUnsafeSlow(storedSize(plain.length));
  header.copy(out);
  const nonce = randomBytes(NONCE);
  nonce.copy(out, HEADER);
  await sealChunks(payloadKey(fileKey, nonce), plain, out);
  return out;
}

/** The library keeps its file key to itself; a recipient without a stanza sees it. */
async function makeHeader(recipient: string): Promise<{ header: Buffer; fileKey: Uint8Array }> {
  const { Encrypter } = await library();
  const encrypter = new Encrypter();
  let fileKey = new Uint8Array();
  encrypter.addRecipient({
    wrapFileKey(key) {
      fileKey = Uint8Array.from(key);
      return [];
    },
  });
  encrypter.addRecipient(recipient);
  const empty = await encrypter.encrypt(new Uint8Array(0));
  const header = Buffer.from(empty.subarray(0, empty.length - NONCE - 16));
  if (header.length !== HEADER) throw new Error(`an age header of ${header.length} bytes`);
  return { header, fileKey };
}

/** The payload's key, from the first `PREFIX` bytes of what `seal` made. Throws where the identity does not fit. */
export async function openPrefix(prefix: Buffer, identity: string): Promise<Buffer> {
  const { Decrypter } = await library();
  const decrypter = new Decrypter();
  decrypter.addIdentity(identity);
  const fileKey = await decrypter.decryptHeader(prefix.subarray(0, HEADER));
  return payloadKey(fileKey, prefix.subarray(HEADER, PREFIX));
}

/** The content of what `seal` made. Throws where it was changed, cut short, or is another's. */
export async function open(stored: Buffer, identity: string): Promise<Buffer> {
  if (plainSize(stored.length) === undefined) throw new Error('cut short');
  const key = await openPrefix(stored, identity);
  return openChunks(key, stored.subarray(PREFIX), 0, true);
}

/** For whom a key of a repository is: a recipient, or whoever knows a passphrase. */
export type KeyHolder = { recipient: string } | { passphrase: string };

/** A small age file by the library alone. A passphrase costs about a second and 360 MB (scrypt). */
export async function sealFor(plain: Uint8Array, holder: KeyHolder): Promise<Buffer> {
  const { Encrypter } = await library();
  const encrypter = new Encrypter();
  if ('recipient' in holder) encrypter.addRecipient(holder.recipient);
  else encrypter.setPassphrase(holder.passphrase);
  return Buffer.from(await encrypter.encrypt(plain));
}

/** The content of a small age file, whoever made it; undefined where these do not open it. */
export async function tryOpen(
  stored: Uint8Array,
  keys: { identities: readonly string[] } | { passphrase: string },
): Promise<Buffer | undefined> {
  const { Decrypter } = await library();
  const decrypter = new Decrypter();
  if ('passphrase' in keys) decrypter.addPassphrase(keys.passphrase);
  else for (const identity of keys.identities) decrypter.addIdentity(identity);
  try {
    return Buffer.from(await decrypter.decrypt(stored));
  } catch {
    return undefined;
  }
}
