import type { Job, JobState, States } from './types.ts';

/** After the second run in a row that should have done well, so long is waited for it, too. */
const SLACK_MS = 3_600_000;
/** A daemon that starts first makes up for what was missed. */
const HOLD_OFF_MS = 900_000;

/** Notices jobs that did not do well for longer than they should. Pure: it is told the time. */
export class Silence {
  readonly #started: number;
  readonly #limits = new WeakMap<Job, { from: string; limit: number }>();

  constructor(started: Date) {
    this.#started = started.getTime();
  }

  /** Jobs that are silent now and were not before, with since when they did not do well; each is noted in its state. */
  notice(jobs: Iterable<Job>, states: States, now: Date): { job: string; since: string }[] {
    return [...jobs].flatMap((job) => {
      const state = states[job.name];
      if (!state || state.silent || this.#limit(job, state) > now.getTime()) return [];
      state.silent = true;
      return [{ job: job.name, since: lastGood(state) }];
    });
  }

  /** Where nobody said how long it may be, two runs by the schedule and an hour. */
  #limit(job: Job, state: JobState): number {
    const from = lastGood(state);
    let known = this.#limits.get(job);
    if (known?.from !== from) {
      known = { from, limit: limitFrom(job, new Date(from)) };
      this.#limits.set(job, known);
    }
    return Math.max(known.limit, this.#started + Math.min(HOLD_OFF_MS, job.silenceMs ?? HOLD_OFF_MS));
  }
}

/** When it last did well; of one that never did, or that was away, since when it is there. */
function lastGood({ lastSuccess = '', since, considered }: JobState): string {
  const there = since ?? considered;
  return lastSuccess > there ? lastSuccess : there;
}

function limitFrom({ silenceMs, makesSnapshots, schedule, jitterMs }: Job, from: Date): number {
  if (silenceMs !== undefined) return silenceMs === 0 ? Number.POSITIVE_INFINITY : from.getTime() + silenceMs;
  const first = makesSnapshots ? schedule?.next(from) : undefined;
  const second = first && schedule?.next(first);
  return second ? second.getTime() + jitterMs + SLACK_MS : Number.POSITIVE_INFINITY;
}
