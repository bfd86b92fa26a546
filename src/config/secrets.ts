import { readFile } from 'node:fs/promises';
import { isIdentity } from '../core/age.ts';
import { messageOf, VolbakError } from '../core/errors.ts';
import type { SecretSource } from './env.ts';

/** The text of a secret; undefined where none is given. Raises WRONG_KEY where its file cannot be read. */
export async function readSource({ variable, value, file }: SecretSource): Promise<string | undefined> {
  if (value !== undefined || file === undefined) return value;
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    throw new VolbakError('WRONG_KEY', `${variable}_FILE cannot be read: ${messageOf(error)}`, {
      cause: error,
      hint: 'It must name a file that this user may read.',
    });
  }
}

/** A passphrase, without the line end of its file. */
export async function readPassphrase(source: SecretSource): Promise<string | undefined> {
  const text = (await readSource(source))?.replace(/\r?\n$/, '');
  if (text === '')
    throw new VolbakError('WRONG_KEY', `the passphrase in ${source.variable} is empty`, {
      hint: 'Its file holds one line.',
    });
  return text;
}

/**
 * Identities as age-keygen writes them: one a line, with comments and empty lines. Raises WRONG_KEY for anything else,
 * without repeating it.
 */
export async function readIdentities(source: SecretSource): Promise<string[]> {
  const text = await readSource(source);
  if (text === undefined) return [];
  const lines = text.split(/\r?\n/).map((line) => line.trim());
  const identities = lines.filter((line) => line !== '' && !line.startsWith('#'));
  for (const [number, line] of identities.entries()) {
    if (await isIdentity(line)) continue;
    throw new VolbakError('WRONG_KEY', `${source.variable}: identity ${number + 1} is no age identity`, {
      hint: 'Lines of AGE-SECRET-KEY-1…, as age-keygen writes them. Decrypt a file that is itself encrypted first.',
    });
  }
  if (identities.length === 0)
    throw new VolbakError('WRONG_KEY', `${source.variable} holds no age identity`, {
      hint: 'Lines of AGE-SECRET-KEY-1…, as age-keygen writes them.',
    });
  return identities;
}
