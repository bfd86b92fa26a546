import { processState } from '../core/process-identity.ts';
import { sleep } from '../core/sleep.ts';
import type { Outcome, States } from '../schedule/types.ts';
import { exitOfRun } from './lock.ts';
import type { Log } from './log.ts';
import { outcomeOf } from './outcome.ts';

/** So long is waited for commands of a daemon that was killed, which stop by themselves. */
const ORPHANS_MS = 60_000;

/** Commands of a daemon that was killed notice that and stop; nothing is run again beside them. */
export async function orphansEnd(states: States, log: Log, signal: AbortSignal): Promise<void> {
  const alive = () =>
    Object.entries(states).filter(
      ([, { running }]) => running?.process !== undefined && processState(running.process) === 'alive',
    );
  if (alive().length > 0) log.info('an earlier daemon was killed; its jobs are ending');
  for (let waited = 0; alive().length > 0 && waited < ORPHANS_MS; waited += 200) await sleep(200, signal);
}

/** Runs of a daemon that was killed which came to an end all the same: they are not run again. */
export async function endedMeanwhile(
  states: States,
  stateDirectory: string,
): Promise<ReadonlyMap<string, Outcome>> {
  const ended = new Map<string, Outcome>();
  for (const [name, { running }] of Object.entries(states)) {
    const exit = running && (await exitOfRun(stateDirectory, name, running.started));
    if (exit !== undefined) ended.set(name, outcomeOf({ exit }, true));
  }
  return ended;
}
