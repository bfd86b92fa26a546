import { createPrivateKey, generateKeyPairSync, type KeyObject, randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { link, mkdir, open, readFile, unlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { messageOf, VolbakError } from '../core/errors.ts';

/**
 * This machine's and user's own Ed25519 key, with which manifests are signed: kept in the state directory, made at first
 * use. Raises CONFIG where it can neither be read nor kept.
 */
export async function loadWriterKey(stateDirectory: string): Promise<KeyObject> {
  const path = join(stateDirectory, 'writer-key.pem');
  try {
    return (await readKey(path)) ?? (await makeKey(path));
  } catch (error) {
    throw new VolbakError('CONFIG', `this machine's writer key ${path} cannot be used: ${messageOf(error)}`, {
      cause: error,
      hint: 'Make the state directory writable (XDG_STATE_HOME); remove the file to get a new key, which others must trust anew.',
    });
  }
}

async function readKey(path: string): Promise<KeyObject | undefined> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  const key = createPrivateKey(text);
  if (key.asymmetricKeyType !== 'ed25519') throw new Error('it is no Ed25519 key');
  return key;
}

/** Written whole, then given its name: of two runs at once the second takes the first one's. */
async function makeKey(path: string): Promise<KeyObject> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  const temporary = `${path}.${randomBytes(6).toString('hex')}`;
  const { privateKey } = generateKeyPairSync('ed25519');
  const file = await open(temporary, 'wx', 0o600);
  try {
    await file.writeFile(privateKey.export({ format: 'pem', type: 'pkcs8' }));
    await file.sync();
  } finally {
    await file.close();
  }
  try {
    await link(temporary, path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  } finally {
    await unlink(temporary);
  }
  const directory = await open(dirname(path), constants.O_RDONLY);
  await directory.sync().finally(() => directory.close());
  return (await readKey(path)) as KeyObject;
}
