import { randomBytes } from 'node:crypto';
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { VolbakError } from '../../core/errors.ts';
import { formatDuration } from '../../core/units.ts';

const schema = z.object({
  /** Ids of snapshots that stood, here or condemned, at the end of the last prune. */
  seen: z.array(z.string()),
  /** Since when, by this machine's monotonic clock, a session has shown no new heartbeat. */
  sessions: z.record(z.string(), z.object({ beat: z.string(), boot: z.string().optional(), at: z.number() })),
  /** The store's clock and ours, both in milliseconds, at the same moment. */
  storeTime: z.number(),
  wallTime: z.number(),
  /** When the store's clock was seen to have jumped: nothing counts as older than that. By the store's clock. */
  jumped: z.number().optional(),
});

/** What a pruner knows from the last time. */
export type Memory = z.infer<typeof schema>;

/** Clocks drift, and a request takes its time; more than this apart from one run to the next is a jump. */
const DRIFT_MS = 10 * 60_000;

/** Where a pruner keeps it. */
export interface MemoryPlace {
  /** Undefined where there is none, or it is damaged: then nothing is known. */
  read(): Promise<Memory | undefined>;
  /** Whole or not at all. */
  write(memory: Memory): Promise<void>;
}

/** In the state directory of this host, by repository. */
export function memoryOnDisk(stateDirectory: string, repositoryId: string): MemoryPlace {
  const directory = join(stateDirectory, 'prune');
  const file = join(directory, `${repositoryId}.json`);
  return {
    async read() {
      try {
        return schema.parse(JSON.parse(await readFile(file, 'utf8')));
      } catch {
        return undefined;
      }
    },
    async write(memory) {
      await mkdir(directory, { recursive: true, mode: 0o700 });
      const temporary = `${file}.${randomBytes(4).toString('hex')}`;
      await writeFile(temporary, JSON.stringify(memory), { mode: 0o600 });
      await rename(temporary, file);
    },
  };
}

/** How far the store's clock went against ours since the last prune, where that is more than a drift. */
export function jumpSince(memory: Memory, storeTime: number, wallTime: number): number | undefined {
  const jump = storeTime - memory.storeTime - (wallTime - memory.wallTime);
  return Math.abs(jump) > DRIFT_MS || storeTime < memory.storeTime ? jump : undefined;
}

export function clockJumped(label: string, jump: number): VolbakError {
  return new VolbakError(
    'REPOSITORY_BUSY',
    `the clock of ${label} jumped by ${formatDuration(Math.abs(jump))} against this machine's: ages mean nothing now`,
    { hint: 'Look at both clocks, then run it again: nothing counts as older than this moment then.' },
  );
}
