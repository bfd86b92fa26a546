import type { Schedule } from './cron.ts';

/** What the scheduler knows of a job. */
export interface Job {
  name: string;
  schedule?: Schedule;
  /** Names the schedule: where it is another one, nothing of the time before counts as missed. */
  plan: string;
  /** Run after this job, when it did well. */
  after?: string;
  /** What no other job may work on meanwhile; `*` at the end stands for all that begins so. */
  claims: readonly string[];
  jitterMs: number;
  overlap: 'queue' | 'skip' | 'fail';
  missed: 'once' | 'skip';
  retry: { times: number; delayMs: number; maxDelayMs: number };
  /** It may go and come back, as containers do: what it did is remembered meanwhile, and a run that was due then is missed. */
  lasting?: boolean;
  /** It makes snapshots: where it does not for longer than its schedule says, somebody should know. */
  makesSnapshots?: boolean;
  /** So long it may do without having done well, where that was said; 0 for ever. */
  silenceMs?: number;
}

/** Why a job runs. */
export type Why = 'schedule' | 'missed' | 'after' | 'retry' | 'interrupted';

/** A run that is to come. */
export interface Waiting {
  /** When it was planned. */
  due: string;
  why: Why;
  /** From 1; a retry is the next one. */
  attempt: number;
  /** Not before this moment, which was `delayMs` away when it was set. */
  notBefore?: string;
  delayMs?: number;
  /** How often the engine was not there. */
  engineTries?: number;
}

/** A run under way. */
export interface Running extends Waiting {
  started: string;
  /** The process that does it; see core/process-identity.ts. */
  process?: string;
}

/** What is kept of a job on disk. */
export interface JobState {
  plan: string;
  /** Up to this moment its schedule was looked at: what was due before was run, waits, or was left out. */
  considered: string;
  waiting?: Waiting;
  running?: Running;
  lastSuccess?: string;
  /** In a row. */
  failures: number;
  lasting?: boolean;
  /** Since when there is no such job. */
  gone?: string;
  /** It did well as it went: what is to follow does when it is back. */
  chain?: boolean;
  /** Since when it is there, or is there again. */
  since?: string;
  /** It was told that it did not do well for longer than it should. */
  silent?: boolean;
  /** What the last snapshots of each source held: files and bytes, oldest first. */
  extents?: Record<string, (readonly [entries: number, tarBytes: number])[]>;
  /** Sources whose last snapshot was much smaller than those before. */
  shrunk?: string[];
}

export type States = Record<string, JobState>;

export interface Outcome {
  ok: boolean;
  /** Trying again may help. */
  retryable: boolean;
  /** The engine was not there: no failure of the job, it is tried until the engine is. */
  engineGone?: boolean;
  /** It runs already, by hand: no failure of it, it waits for that. */
  busy?: boolean;
  /** It was stopped as the daemon ends: it runs again with the next one. */
  stopped?: boolean;
}

/** What happened besides starts. */
export interface Note {
  job: string;
  what: 'skipped' | 'failed' | 'left-out';
  message: string;
}
