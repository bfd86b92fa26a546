import { randomBytes } from 'node:crypto';
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';

/** Where an encrypted repository keeps the key that hides names, for who can read it. */
export const NAMES_KEY_OBJECT = 'names.key';

/** This machine's copy of the key that hides names in a repository: all that a host needs besides the descriptor. */
export class NamesKeyFile {
  readonly #path: string;

  constructor(stateDirectory: string, repositoryId: string) {
    this.#path = join(stateDirectory, 'names', `${repositoryId}.key`);
  }

  /** Its text; undefined where there is none. */
  async read(): Promise<string | undefined> {
    return readFile(this.#path, 'utf8').catch(() => undefined);
  }

  async write(text: string): Promise<void> {
    await mkdir(dirname(this.#path), { recursive: true, mode: 0o700 });
    const temporary = `${this.#path}.${randomBytes(6).toString('hex')}`;
    await writeFile(temporary, text, { mode: 0o600 });
    await rename(temporary, this.#path);
  }
}

/** The form in which a names key is handed on: base64 and a line end. */
export function formatNamesKey(key: Buffer): string {
  return `${key.toString('base64')}\n`;
}
