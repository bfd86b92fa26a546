import { processState } from '../core/process-identity.ts';
import { sleep } from '../core/sleep.ts';
import type { States } from '../schedule/types.ts';
import type { Log } from './log.ts';

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
