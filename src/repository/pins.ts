import { createHash, randomBytes } from 'node:crypto';
import { mkdir, readFile, rename, unlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { VolbakError } from '../core/errors.ts';

const schema = z.object({
  /** Where the repository is, for people. */
  place: z.string(),
  id: z.string(),
  /** Recipient that it is encrypted to, and the hash of the key that hides names, if one does; null where it is not. */
  encryption: z.string().nullable(),
  /** Writers known here; absent until the first manifest was read. */
  writers: z.array(z.string()).optional(),
});

/** What this machine and user saw of a repository when they first used it. */
export type Pin = z.infer<typeof schema>;

/** Remembers, in the state directory, what lies at a place: one small file for each. */
export class PinFile {
  readonly path: string;
  readonly place: string;

  constructor(stateDirectory: string, place: string) {
    const name = createHash('sha256').update(place).digest('hex').slice(0, 32);
    this.path = join(stateDirectory, 'repositories', `${name}.json`);
    this.place = place;
  }

  /** Undefined where the place was never used. Raises WRONG_KEY where the note cannot be read: it is no first use. */
  async read(): Promise<Pin | undefined> {
    try {
      return schema.parse(JSON.parse(await readFile(this.path, 'utf8')));
    } catch (error) {
      if (['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) return undefined;
      throw new VolbakError(
        'WRONG_KEY',
        `what is remembered of ${this.place} cannot be read from ${this.path}`,
        {
          cause: error,
          hint: 'Remove the file to take what lies there now for the right one.',
        },
      );
    }
  }

  /** Written beside, then renamed: never half. */
  async write(pin: Omit<Pin, 'place'>): Promise<void> {
    await mkdir(dirname(this.path), { recursive: true, mode: 0o700 });
    const temporary = `${this.path}.${randomBytes(6).toString('hex')}`;
    try {
      await writeFile(temporary, `${JSON.stringify({ place: this.place, ...pin })}\n`, { mode: 0o600 });
      await rename(temporary, this.path);
    } catch (error) {
      await unlink(temporary).catch(() => {});
      throw error;
    }
  }
}
