import { mkdir, open, readFile, rename, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import { messageOf, VolbakError } from '../core/errors.ts';
import type { States } from '../schedule/types.ts';

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
