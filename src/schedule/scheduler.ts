import { jitterOf } from './cron.ts';
import { begun, didWell, failed, iso, waitFor } from './states.ts';
import type { Job, JobState, Note, Outcome, Running, States, Waiting, Why } from './types.ts';

/** A run that starts later than this was missed: nothing ran, or the clock jumped. */
const LATE_MS = 60_000;
/** A clock that is set back by up to this much repeats no run; by more, schedules begin anew at what it shows. */
const SET_BACK_MS = 3 * 3_600_000;
/** Who was away for longer was not silent, but not there. */
const AWAY_MS = 3_600_000;
/** So long it is remembered what a job did that may come back. */
const REMEMBERED_MS = 30 * 24 * 3_600_000;

/** Whether two claims mean the same thing. */
function clash(a: string, b: string): boolean {
  if (a.endsWith('*')) return b.startsWith(a.slice(0, -1));
  return b.endsWith('*') ? a.startsWith(b.slice(0, -1)) : a === b;
}

/**
 * Decides which job runs when. Pure: it is told the time, tells what to start, and is told what became of that; `states` is
 * all that it remembers, to be written to disk before a run is started.
 */
export class Scheduler {
  readonly states: States;
  #jobs = new Map<string, Job>();
  /** Jobs that went while they ran: they still hold what they work on. */
  readonly #leaving = new Map<string, Job>();
  #limit: number;
  /** When it was last said what to start. */
  #ticked = 0;
  /** Next starts, as long as what they were reckoned from is the same. */
  readonly #planned = new Map<string, { from: string; due: Date | undefined; start: number }>();
  #notes: Note[] = [];

  /** `ended` are those of the runs in `states` that came to an end; the others were interrupted. */
  constructor(
    jobs: readonly Job[],
    limit: number,
    states: States,
    now: Date,
    ended: ReadonlyMap<string, Outcome> = new Map(),
  ) {
    this.states = states;
    this.#limit = limit;
    this.reload(jobs, limit, now);
    for (const [name, outcome] of ended) this.finished(name, outcome, now);
    for (const state of Object.values(states)) {
      const { running } = state;
      if (running === undefined) continue;
      delete state.running;
      state.waiting ??= { due: running.due, why: 'interrupted', attempt: running.attempt };
    }
  }

  get jobs(): Iterable<Job> {
    return this.#jobs.values();
  }

  /** Takes other jobs; what runs goes on, and what waits still does if its job is there. */
  reload(jobs: readonly Job[], limit: number, now: Date): void {
    const before = this.#jobs;
    this.#jobs = new Map(jobs.map((job) => [job.name, job]));
    this.#limit = limit;
    for (const [name, old] of before) {
      const job = this.#jobs.get(name);
      if (job?.plan !== old.plan || job.jitterMs !== old.jitterMs) this.#planned.delete(name);
      if (!job && this.states[name]?.running) this.#leaving.set(name, old);
    }
    for (const name of Object.keys(this.states)) if (!this.#jobs.has(name)) this.#gone(name, now);
    for (const { name, plan, lasting } of jobs) {
      this.#leaving.delete(name);
      const state = this.states[name];
      if (!state) this.states[name] = begun(plan, now);
      else if (state.plan !== plan) Object.assign(state, { plan, considered: now.toISOString() });
      this.#back(this.#state(name), lasting ?? false, now);
    }
    for (const [name, state] of Object.entries(this.states)) {
      if (!state.chain || !this.#jobs.has(name)) continue;
      delete state.chain;
      this.#startBehind(name, now);
    }
  }

  #back(state: JobState, lasting: boolean, now: Date): void {
    if (state.gone !== undefined && now.getTime() - Date.parse(state.gone) > AWAY_MS)
      state.since = now.toISOString();
    delete state.gone;
    if (lasting) state.lasting = true;
  }

  #gone(name: string, now: Date): void {
    const state = this.#state(name);
    if (state.lasting) {
      state.gone ??= now.toISOString();
      if (!state.running && now.getTime() - Date.parse(state.gone) > REMEMBERED_MS) delete this.states[name];
    } else if (state.running) delete state.waiting;
    else delete this.states[name];
  }

  /** What must be started now, in order; each counts as running from here on. */
  tick(now: Date): { start: { name: string; run: Running }[]; notes: Note[] } {
    const at = now.getTime();
    this.#ticked = at;
    for (const job of this.#jobs.values()) this.#considerSchedule(job, at);
    const start = this.#startWaiting(at);
    const notes = this.#notes;
    this.#notes = [];
    return { start, notes };
  }

  /** When something may have to be done next; undefined where nothing is planned. */
  nextWake(now: Date): Date | undefined {
    const at = now.getTime();
    const times = [...this.#jobs.values()].flatMap((job) => {
      const { waiting } = this.#state(job.name);
      const next = this.#plannedStart(job)?.start;
      // What could have been started when last asked waits for the end of another run.
      const later = waiting?.notBefore === undefined ? 0 : Date.parse(waiting.notBefore);
      return [next, later > this.#ticked ? later : undefined].filter((time) => time !== undefined);
    });
    return times.length === 0 ? undefined : new Date(Math.max(at, Math.min(...times)));
  }

  /** When a job starts next by its schedule, jitter included. */
  nextStart(name: string): Date | undefined {
    const job = this.#jobs.get(name);
    const start = job && this.#plannedStart(job)?.start;
    return start === undefined ? undefined : new Date(start);
  }

  /** Must be told once for each start. */
  finished(name: string, outcome: Outcome, now: Date): void {
    const state = this.#state(name);
    const { running } = state;
    if (!running) return;
    delete state.running;
    const job = this.#jobs.get(name);
    if (!job) this.#endedWithoutJob(name, state, running, outcome, now);
    else if (outcome.stopped)
      state.waiting = { due: running.due, why: 'interrupted', attempt: running.attempt };
    else if (outcome.engineGone || outcome.busy) waitFor(state, running, now);
    else if (outcome.ok) this.#succeeded(job, state, now);
    else failed(job, state, running, outcome, now);
  }

  /** Its job went meanwhile; what did not do well is run again where it comes back. */
  #endedWithoutJob(name: string, state: JobState, running: Running, outcome: Outcome, now: Date): void {
    this.#leaving.delete(name);
    if (!state.lasting) delete this.states[name];
    else if (outcome.ok) {
      didWell(state, now);
      state.chain = true;
    } else state.waiting = { due: running.due, why: 'interrupted', attempt: running.attempt };
  }

  #state(name: string): JobState {
    return this.states[name] as JobState;
  }

  #plannedStart(job: Job): { due: Date; start: number } | undefined {
    const from = this.#state(job.name).considered;
    let planned = this.#planned.get(job.name);
    if (planned?.from !== from) {
      const due = job.schedule?.next(new Date(from));
      const start = due ? due.getTime() + jitterOf(job.name, due, job.jitterMs) : Number.POSITIVE_INFINITY;
      planned = { from, due, start };
      this.#planned.set(job.name, planned);
    }
    return planned.due === undefined ? undefined : { due: planned.due, start: planned.start };
  }

  #considerSchedule(job: Job, now: number): void {
    const state = this.#state(job.name);
    const { waiting } = state;
    if (Date.parse(state.considered) > now + SET_BACK_MS) state.considered = iso(now);
    // The clock was set back: nobody wants to wait for longer than was said.
    if (waiting?.notBefore !== undefined && Date.parse(waiting.notBefore) > now + (waiting.delayMs ?? 0))
      waiting.notBefore = iso(now + (waiting.delayMs ?? 0));
    const planned = this.#plannedStart(job);
    if (!planned || planned.start > now) return;
    state.considered = iso(now);
    const late = now - planned.start > LATE_MS;
    if (late && job.missed === 'skip')
      this.#note(job.name, 'left-out', `the run of ${planned.due.toISOString()} was missed`);
    else this.#enqueue(job, planned.due.toISOString(), late ? 'missed' : 'schedule');
  }

  /** One run at most waits for each job: a further one comes to the same. */
  #enqueue(job: Job, due: string, why: Why): void {
    const state = this.#state(job.name);
    const { waiting } = state;
    if (waiting && waiting.why !== 'retry') return;
    const holder = this.#holderOf(job, []);
    if (holder !== undefined && job.overlap !== 'queue') {
      const what = job.overlap === 'skip' ? 'skipped' : 'failed';
      if (job.overlap === 'fail') state.failures++;
      this.#note(job.name, what, holder === job.name ? 'it still runs' : `${holder} still runs`);
      return;
    }
    state.waiting = { due, why, attempt: 1 };
  }

  #startWaiting(now: number): { name: string; run: Running }[] {
    const started: { name: string; run: Running }[] = [];
    const ready = [...this.#jobs.values()]
      .flatMap((job) => {
        const { waiting } = this.#state(job.name);
        const soon = waiting?.notBefore === undefined || Date.parse(waiting.notBefore) <= now;
        return waiting && soon ? [{ job, waiting }] : [];
      })
      .sort((a, b) => Date.parse(a.waiting.due) - Date.parse(b.waiting.due));
    let running = Object.values(this.states).filter((state) => state.running).length;
    // Who has to wait keeps its place before others that want the same.
    const first: Job[] = [];
    for (const { job, waiting } of ready) {
      if (running >= this.#limit) break;
      if (this.#holderOf(job, first) !== undefined) {
        first.push(job);
        continue;
      }
      started.push({ name: job.name, run: this.#begin(job, waiting, now) });
      running++;
    }
    return started;
  }

  #begin(job: Job, waiting: Waiting, now: number): Running {
    const state = this.#state(job.name);
    const { notBefore: _, delayMs: __, ...run } = waiting;
    delete state.waiting;
    state.running = { ...run, started: iso(now) };
    return state.running;
  }

  /** Who holds what a job needs. */
  #holderOf(job: Job, first: readonly Job[]): string | undefined {
    if (this.#state(job.name).running) return job.name;
    const running = [...this.#jobs.values()].filter(({ name }) => this.#state(name).running);
    const holders = [...running, ...this.#leaving.values(), ...first];
    return holders.find(({ claims }) => claims.some((a) => job.claims.some((b) => clash(a, b))))?.name;
  }

  #succeeded(done: Job, state: JobState, now: Date): void {
    didWell(state, now);
    this.#startBehind(done.name, now);
  }

  #startBehind(name: string, now: Date): void {
    for (const job of this.#jobs.values())
      if (job.after === name) this.#enqueue(job, now.toISOString(), 'after');
  }

  #note(job: string, what: Note['what'], message: string): void {
    this.#notes.push({ job, what, message });
  }
}
