import type { Job, JobState, Outcome, Running } from './types.ts';

/** Between looks for an engine that is not there, or another run of the job: at first, and at most. */
const WAIT_MS = 2000;
const MAX_WAIT_MS = 60_000;

export const iso = (at: number) => new Date(at).toISOString();

/** The state of a job that is new. */
export function begun(plan: string, now: Date): JobState {
  return { plan, considered: now.toISOString(), since: now.toISOString(), failures: 0 };
}

export function didWell(state: JobState, now: Date): void {
  state.failures = 0;
  state.lastSuccess = now.toISOString();
  delete state.silent;
}

/** Waits for what is not there, or in the way; that is no failure. */
export function waitFor(state: JobState, running: Running, now: Date): void {
  const engineTries = (running.engineTries ?? 0) + 1;
  const delayMs = Math.min(WAIT_MS * 2 ** Math.min(engineTries - 1, 10), MAX_WAIT_MS);
  const { due, why, attempt } = running;
  state.waiting = { due, why, attempt, engineTries, delayMs, notBefore: iso(now.getTime() + delayMs) };
}

/** Counts a failure, and plans to try again where that may help. */
export function failed(job: Job, state: JobState, running: Running, outcome: Outcome, now: Date): void {
  state.failures++;
  const { times, delayMs: first, maxDelayMs } = job.retry;
  if (!outcome.retryable || running.attempt > times || state.waiting) return;
  const delayMs = Math.min(first * 2 ** Math.min(running.attempt - 1, 30), maxDelayMs);
  const notBefore = iso(now.getTime() + delayMs);
  state.waiting = { due: running.due, why: 'retry', attempt: running.attempt + 1, delayMs, notBefore };
}
