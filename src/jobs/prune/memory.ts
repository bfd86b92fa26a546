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

/** Reads what this host's last prune of a repository noted; undefined where there was none or the note is damaged. */
export async function readMemory(stateDirectory: string, repositoryId: string): Promise<Memory | undefined> {
  try {
    return schema.parse(JSON.parse(await readFile(fileOf(stateDirectory, repositoryId), 'utf8')));
  } catch {
    return undefined;
  }
}

/** Notes it for the next one, whole or not at all. */
export async function writeMemory(
  stateDirectory: string,
  repositoryId: string,
  memory: Memory,
): Promise<void> {
  const file = fileOf(stateDirectory, repositoryId);
  await mkdir(join(stateDirectory, 'prune'), { recursive: true, mode: 0o700 });
  const temporary = `${file}.${randomBytes(4).toString('hex')}`;
  await writeFile(temporary, JSON.stringify(memory), { mode: 0o600 });
  await rename(temporary, file);
}

function fileOf(stateDirectory: string, repositoryId: string): string {
  return join(stateDirectory, 'prune', `${repositoryId}.json`);
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
