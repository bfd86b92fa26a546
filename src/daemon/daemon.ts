import { join } from 'node:path';
import { commandOf, repositoryOf } from '../config/jobs.ts';
import type { ConfigFile } from '../config/schema.ts';
import { messageOf, toVolbakError } from '../core/errors.ts';
import { sleep } from '../core/sleep.ts';
import type { NewsEvent } from '../notify/types.ts';
import { Scheduler } from '../schedule/scheduler.ts';
import { Silence } from '../schedule/silence.ts';
import type { Outcome, Running, States } from '../schedule/types.ts';
import { type Child, type Ended, startChild } from './child.ts';
import { FoundJobs } from './found.ts';
import { healthOf } from './health.ts';
import { hostOf, hostsOf, joined, milliseconds, scheduledJobs } from './jobs.ts';
import { takeLock } from './lock.ts';
import { createMetrics, type Metrics } from './metrics.ts';
import { tellNews } from './news.ts';
import type { DaemonOptions } from './options.ts';
import { endedMeanwhile, orphansEnd } from './orphans.ts';
import { leftSomething, outcomeOf } from './outcome.ts';
import { recoverEngine } from './recovery.ts';
import { logEnding, logTold, newsOf, resultOf } from './report.ts';
import { serve } from './server.ts';
import { noticeShrinking, snapshotsOf } from './shrinking.ts';
import { readStates, StateFile } from './state.ts';

/** It looks at the clock at least this often: clocks jump, and machines sleep. */
const LOOK_MS = 15_000;

/** Runs jobs when they are due, each in a process of its own, until its signal. */
export class Daemon {
  readonly #options: DaemonOptions;
  readonly #children = new Map<string, Child>();
  readonly #runs = new Set<Promise<void>>();
  readonly #found: FoundJobs;
  readonly #file: StateFile;
  /** What was read. */
  #read: ConfigFile;
  /** The same with jobs that were found. */
  #config: ConfigFile;
  #scheduler: Scheduler;
  #metrics: Metrics | undefined;
  readonly #silence: Silence;
  #wake: () => void = () => {};
  #stopping = false;

  private constructor(
    options: DaemonOptions,
    config: ConfigFile,
    states: States,
    ended: ReadonlyMap<string, Outcome>,
  ) {
    this.#options = options;
    this.#file = new StateFile(join(options.stateDirectory, 'daemon', 'state.json'), options.log);
    this.#read = config;
    this.#config = config;
    const jobs = scheduledJobs(config, options.systemZone);
    this.#scheduler = new Scheduler(jobs, config.daemon.jobs, states, options.clock.now(), ended);
    this.#silence = new Silence(options.clock.now());
    this.#found = new FoundJobs({
      ...options,
      changed: () => this.#apply(),
      problem: (container, text) => this.#news('labels', `${container}:backup`, text),
    });
  }

  /** Resolves when it was ended by its signal and nothing of it runs any more. Raises CONFIG. */
  static async run(options: DaemonOptions, onReady: (daemon: Daemon) => void): Promise<void> {
    const config = await options.readConfig();
    const directory = join(options.stateDirectory, 'daemon');
    const unlock = await takeLock(directory, options.signal);
    try {
      const states = await readStates(join(directory, 'state.json'));
      await orphansEnd(states, options.log, options.signal);
      const daemon = new Daemon(
        options,
        config,
        states,
        await endedMeanwhile(states, options.stateDirectory),
      );
      await daemon.#live(onReady);
    } finally {
      await unlock();
    }
  }

  /** Reads the configuration anew; one that is wrong changes nothing. */
  async reload(): Promise<void> {
    const { log, notify } = this.#options;
    await notify('RELOADING=1');
    try {
      this.#read = await this.#options.readConfig();
      log.info('the configuration was read anew', { jobs: Object.keys(this.#read.jobs).length });
      this.#apply();
      this.#found.follow(this.#read);
    } catch (error) {
      log.error(`the configuration stays as it was: ${messageOf(error)}`);
    }
    await notify('READY=1');
  }

  /** Takes what was read and what was found. */
  #apply(): void {
    const { clock, systemZone } = this.#options;
    const { current } = this.#found;
    this.#config = joined(this.#read, current);
    const jobs = scheduledJobs(this.#config, systemZone, current);
    this.#scheduler.reload(jobs, this.#config.daemon.jobs, clock.now());
    this.#metrics?.labelProblems(current.problems.length);
    this.#wake();
  }

  async #live(onReady: (daemon: Daemon) => void): Promise<void> {
    const { signal, log, notify, version } = this.#options;
    const metrics = await createMetrics(() => this.#scheduler, version);
    this.#metrics = metrics;
    const listen = this.#options.listen ?? this.#config.daemon.listen;
    const server =
      listen === undefined
        ? undefined
        : await serve(listen, {
            '/metrics': async () => ({ status: 200, ...(await metrics.text()) }),
            '/healthz': async () => healthOf(this.#scheduler, version, this.#stopping),
          });
    signal.addEventListener('abort', () => this.#wake(), { once: true });
    log.info(`volbak ${version} runs`, { jobs: Object.keys(this.#config.jobs).length });
    const recovering = Promise.all(hostsOf(this.#config).map((host) => this.#recover(host)));
    this.#found.follow(this.#read);
    onReady(this);
    await notify('READY=1');
    try {
      while (!signal.aborted) {
        await this.#startDue();
        await this.#pause();
      }
      await this.#end();
      await this.#found.end();
      await recovering;
    } finally {
      server?.closeAllConnections();
      server?.close();
    }
  }

  /** Waits until something may be due, something ended, or the clock is to be looked at. */
  async #pause(): Promise<void> {
    const now = this.#options.clock.now();
    const next = this.#scheduler.nextWake(now)?.getTime() ?? Number.POSITIVE_INFINITY;
    const ms = Math.min(Math.max(next - now.getTime(), 0), LOOK_MS);
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
      if (this.#options.signal.aborted) this.#wake();
    });
  }

  async #startDue(): Promise<void> {
    const { log, clock } = this.#options;
    const { start, notes } = this.#scheduler.tick(clock.now());
    for (const { job, what, message } of notes) {
      if (what === 'failed') {
        log.error(`${job} failed: ${message}`, { job });
        this.#news('failure', job, message);
      } else log.warn(`${job} was left out: ${message}`, { job });
    }
    const silent = this.#noticeSilence(clock.now());
    if (start.length === 0 && notes.length === 0 && !silent) return;
    // A job may go while the state is written; its run has begun.
    const config = this.#config;
    // First on disk: a daemon that is killed from here on runs it again, and does not run twice what was due.
    await this.#save();
    for (const { name, run } of start) {
      const running: Promise<void> = this.#run(config, name, run).finally(() => this.#runs.delete(running));
      this.#runs.add(running);
    }
  }

  async #run(config: ConfigFile, name: string, run: Running): Promise<void> {
    const { log, program, manners } = this.#options;
    const began = performance.now();
    log.info(`${name} starts`, { job: name, due: run.due, why: run.why, attempt: run.attempt });
    let ended: Ended;
    try {
      const command = await commandOf(config, name);
      const child = startChild(
        program,
        { ...command, run: run.started, argv: [...manners, ...command.argv] },
        (told) => logTold(log, name, told),
      );
      run.process = child.identity;
      this.#children.set(name, child);
      if (this.#stopping) child.stop();
      await this.#save();
      ended = await child.ended;
    } catch (error) {
      const { exitCode, code, message } = toVolbakError(error);
      ended = { exit: exitCode, error: { code, message } };
    }
    this.#children.delete(name);
    const host = hostOf(config, name);
    const seconds = (performance.now() - began) / 1000;
    this.#ended({ job: name, host, repository: repositoryOf(config, name), ended, seconds });
    await this.#save();
    if (leftSomething(ended) && !this.#stopping) await this.#recover(host);
    this.#wake();
  }

  /** Tells the scheduler, the log, Prometheus and people of an end. */
  #ended(run: { job: string; host: string; repository: string; ended: Ended; seconds: number }): void {
    const { job: name, host, repository, ended, seconds } = run;
    const { log, clock } = this.#options;
    const { states } = this.#scheduler;
    const outcome = outcomeOf(ended, this.#stopping);
    const { failures = 0, silent = false } = states[name] ?? {};
    this.#scheduler.finished(name, outcome, clock.now());
    const retrying = states[name]?.waiting?.why === 'retry';
    const ending = { job: name, outcome, ended, seconds, before: { failures, silent }, retrying };
    logEnding(log, ending);
    const result = resultOf(outcome);
    this.#metrics?.ended({ job: name, repository, result, seconds, ended }, clock.now());
    if (outcome.engineGone || outcome.ok) this.#metrics?.engine(host, outcome.ok);
    for (const { event, text } of newsOf(ending)) this.#news(event, name, text);
    for (const text of outcome.ok ? noticeShrinking(states[name] ?? {}, snapshotsOf(ended.summary)) : []) {
      log.error(`${name}: ${text}`, { job: name });
      this.#news('shrink', name, text);
    }
  }

  /** Jobs that did not do well for longer than they should, also where they wait for ever. */
  #noticeSilence(now: Date): boolean {
    const silent = this.#silence.notice(this.#scheduler.jobs, this.#scheduler.states, now);
    for (const { job, since } of silent) {
      const text = `It has not done well since ${since}.`;
      this.#options.log.error(`${job} is silent: ${text}`, { job });
      this.#news('silence', job, text);
    }
    return silent.length > 0;
  }

  #news(event: NewsEvent, job: string, text: string): void {
    const { log, signal, clock } = this.#options;
    void tellNews(this.#config, { event, job, text, at: clock.now() }, log, signal);
  }

  #recover(host: string): Promise<void> {
    const engine = (name: string, up: boolean) => this.#metrics?.engine(name, up);
    return recoverEngine({ ...this.#options, engine }, host);
  }

  /** Running jobs may finish within the grace; then they are stopped, which starts again what they had stopped. */
  async #end(): Promise<void> {
    const { log, notify } = this.#options;
    await notify('STOPPING=1');
    const all = Promise.all([...this.#runs]);
    if (this.#runs.size > 0) {
      const { grace } = this.#config.daemon;
      log.info('finishing', { running: [...this.#children.keys()], grace });
      const done = new AbortController();
      await Promise.race([all, sleep(milliseconds(grace), done.signal).catch(() => {})]);
      done.abort();
    }
    this.#stopping = true;
    for (const child of this.#children.values()) child.stop();
    await all;
    await this.#save();
    log.info('ended');
  }

  #save(): Promise<void> {
    return this.#file.save(this.#scheduler.states);
  }
}
