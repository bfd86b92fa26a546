import type { NewsEvent } from '../notify/types.ts';
import type { JobState, Outcome } from '../schedule/types.ts';
import type { Ended, Told } from './child.ts';
import type { Log } from './log.ts';
import { failureText } from './outcome.ts';

/** A run that ended. */
export interface Ending {
  job: string;
  outcome: Outcome;
  ended: Ended;
  seconds: number;
  /** Of the job, before this end. */
  before: Pick<JobState, 'failures' | 'silent'>;
  /** It is tried again. */
  retrying: boolean;
}

export function resultOf({ ok, stopped, engineGone, busy }: Outcome): 'ok' | 'failed' | 'stopped' {
  if (ok) return 'ok';
  return stopped || engineGone || busy ? 'stopped' : 'failed';
}

/** A line of the log. */
export function logEnding(log: Log, { job, outcome, ended, seconds }: Ending): void {
  const fields = { job, exit: ended.exit ?? null, seconds: Number(seconds.toFixed(1)) };
  if (outcome.ok) log.info(`${job} is done${ended.exit === 0 ? '' : ', but incomplete'}`, fields);
  else if (outcome.stopped) log.warn(`${job} was stopped; it runs again with the next start`, fields);
  else if (outcome.engineGone) log.warn(`${job} waits for its engine: ${failureText(ended)}`, fields);
  else if (outcome.busy) log.warn(`${job} waits: ${failureText(ended)}`, fields);
  else log.error(`${job} failed: ${failureText(ended)}`, { ...fields, code: ended.error?.code });
}

/** What a command said while it worked. */
export function logTold(log: Log, job: string, { event, message, text }: Told): void {
  const said = message ?? text;
  if (said === undefined) return;
  if (event === 'warning' || event === 'stderr') log.warn(`${job}: ${said}`, { job });
  else log.info(`${job}: ${said}`, { job });
}

/** What is told about it. */
export function newsOf({ outcome, ended, before, retrying }: Ending): { event: NewsEvent; text: string }[] {
  if (resultOf(outcome) === 'failed') return retrying ? [] : [{ event: 'failure', text: failureText(ended) }];
  if (!outcome.ok) return [];
  const done: { event: NewsEvent; text: string } = {
    event: 'success',
    text: ended.exit === 0 ? 'It is done.' : 'It is done, but incomplete.',
  };
  if (before.failures > 0)
    return [done, { event: 'recovery', text: `It works again, after ${before.failures} failures in a row.` }];
  return before.silent ? [done, { event: 'recovery', text: 'It works again, after it was silent.' }] : [done];
}
