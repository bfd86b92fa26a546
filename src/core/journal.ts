import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { mkdir, open, readdir, readFile, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { processIdentity, processState } from './process-identity.ts';

/** One promise that must be kept even after a crash, as JSON in a file of its own. */
export interface JournalEntry<T> {
  /** The process that gave it; see process-identity.ts. */
  owner: string;
  body: T;
}

/** A note on disk, made before the deed and removed after it was undone. */
export interface JournalNote {
  /** Raises what stands in the way: a note that stays is acted on by the next command. */
  remove(): Promise<void>;
}

async function removeNote(path: string): Promise<void> {
  try {
    await unlink(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
}

/** Promises on disk, in a directory of the state directory: replayed by the next command when their process is dead. */
export class Journal<T> {
  readonly #directory: string;
  readonly #isGone: (owner: string) => boolean;

  /** `isGone` knows more of processes that are not of this host: those of containers that ended. */
  constructor(directory: string, isGone: (owner: string) => boolean = () => false) {
    this.#directory = directory;
    this.#isGone = isGone;
  }

  /** Writes a note durably. */
  async write(body: T): Promise<JournalNote> {
    await mkdir(this.#directory, { recursive: true, mode: 0o700 });
    const path = join(this.#directory, `${randomBytes(8).toString('hex')}.json`);
    const entry: JournalEntry<T> = { owner: processIdentity(), body };
    const file = await open(path, 'wx', 0o600);
    try {
      await file.writeFile(JSON.stringify(entry));
      await file.sync();
    } finally {
      await file.close();
    }
    const directory = await open(this.#directory, constants.O_RDONLY);
    await directory.sync();
    await directory.close();
    return { remove: () => removeNote(path) };
  }

  /** Notes of processes that are dead. A note that cannot be read was cut off before its deed was done. */
  async orphans(): Promise<{ body: T; note: JournalNote }[]> {
    const found: { body: T; note: JournalNote }[] = [];
    const names = await readdir(this.#directory).catch(() => [] as string[]);
    for (const name of names.filter((n) => n.endsWith('.json'))) {
      const path = join(this.#directory, name);
      const note = { remove: () => removeNote(path) };
      try {
        const entry = JSON.parse(await readFile(path, 'utf8')) as JournalEntry<T>;
        const state = processState(entry.owner);
        if (state === 'dead' || (state === 'elsewhere' && this.#isGone(entry.owner)))
          found.push({ body: entry.body, note });
      } catch {
        // Being written by another process right now, or cut off: nothing was done under it yet.
      }
    }
    return found;
  }
}
