import { mkdir, open, readFile, rename, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import { messageOf, VolbakError } from '../core/errors.ts';
import type { States } from '../schedule/types.ts';
import type { Log } from './log.ts';

/** What jobs did, as it was kept. Raises CONFIG where it cannot be read: nothing is run again on a guess. */
export async function readStates(file: string): Promise<States> {
  try {
    return (JSON.parse(await readFile(file, 'utf8')) as { jobs: States }).jobs;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return {};
    throw new VolbakError('CONFIG', `the daemon's state ${file} cannot be read: ${messageOf(error)}`, {
      hint: 'Move it away: then schedules begin anew, and nothing counts as missed.',
      cause: error,
    });
  }
}

/** Keeps it durably: whole or not at all. */
export async function writeStates(file: string, jobs: States): Promise<void> {
  await mkdir(dirname(file), { recursive: true, mode: 0o700 });
  const draft = `${file}.new`;
  try {
    const handle = await open(draft, 'w', 0o600);
    try {
      await handle.writeFile(JSON.stringify({ jobs }));
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(draft, file);
  } catch (error) {
    await unlink(draft).catch(() => {});
    throw error;
  }
}

/** One write at a time, each of what is known by then. A disk that is full must not keep jobs from running. */
export class StateFile {
  readonly #file: string;
  readonly #log: Log;
  #writing = Promise.resolve();
  /** A write that has not begun: who asks meanwhile is in it. */
  #next: Promise<void> | undefined;
  #failed = false;

  constructor(file: string, log: Log) {
    this.#file = file;
    this.#log = log;
  }

  /** Resolves when it was written, or could not be, which is told once as long as it stays so. */
  save(states: States): Promise<void> {
    this.#next ??= this.#writing.then(() => {
      this.#next = undefined;
      return this.#write(states);
    });
    this.#writing = this.#next;
    return this.#writing;
  }

  async #write(states: States): Promise<void> {
    try {
      await writeStates(this.#file, states);
      if (this.#failed) this.#log.info(`what runs is kept in ${this.#file} again`);
      this.#failed = false;
    } catch (error) {
      if (!this.#failed) this.#log.error(`what runs cannot be kept in ${this.#file}: ${messageOf(error)}`);
      this.#failed = true;
    }
  }
}
