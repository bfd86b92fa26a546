import { join } from 'node:path';
import { commandOf } from '../config/jobs.ts';
import type { ConfigFile } from '../config/schema.ts';
import type { Clock } from '../core/clock.ts';
import { messageOf, toVolbakError } from '../core/errors.ts';
import { sleep } from '../core/sleep.ts';
import type { NewsEvent } from '../notify/types.ts';
import { Scheduler } from '../schedule/scheduler.ts';
import type { Running, States } from '../schedule/types.ts';
import { type Child, type Ended, type Program, startChild, type Told } from './child.ts';
import { type Discover, FoundJobs } from './found.ts';
import { healthOf } from './health.ts';
import { hostsOf, joined, milliseconds, scheduledJobs } from './jobs.ts';
import { takeLock } from './lock.ts';
import type { Log } from './log.ts';
import { createMetrics, type Metrics } from './metrics.ts';
import { tellNews } from './news.ts';
import { orphansEnd } from './orphans.ts';
import { failureText, leftSomething, outcomeOf } from './outcome.ts';
import { recoverEngine } from './recovery.ts';
import { serve } from './server.ts';
import { readStates, writeStates } from './state.ts';

export interface DaemonOptions {
  readConfig(): Promise<ConfigFile>;
  /** Looks for jobs from labels. */
  discover: Discover;
  program: Program;
  /** Global options for every command that it starts. */
  manners: readonly string[];
  stateDirectory: string;
  systemZone: string;
  version: string;
  clock: Clock;
  log: Log;
  /** Ends the daemon. */
  signal: AbortSignal;
  /** In place of what the configuration says. */
  listen: string | undefined;
  /** Tells the service manager. */
  notify(...words: string[]): Promise<void>;
}

/** It looks at the clock at least this often: clocks jump, and machines sleep. */
const LOOK_MS = 15_000;

/** Runs jobs when they are due, each in a process of its own, until its signal. */
export class Daemon {
  readonly #options: DaemonOptions;
  readonly #children = new Map<string, Child>();
  readonly #runs = new Set<Promise<void>>();
  readonly #found: FoundJobs;
  /** What was read. */
  #file: ConfigFile;
  /** The same with jobs that were found. */
  #config: ConfigFile;
  #scheduler: Scheduler;
  #metrics: Metrics | undefined;
  #wake: () => void = () => {};
  #stopping = false;

  private constructor(options: DaemonOptions, config: ConfigFile, states: States) {
    this.#options = options;
    this.#file = config;
    this.#config = config;
    const jobs = scheduledJobs(config, options.systemZone);
    this.#scheduler = new Scheduler(jobs, config.daemon.jobs, states, options.clock.now());
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
      const daemon = new Daemon(options, config, states);
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
      this.#file = await this.#options.readConfig();
      log.info('the configuration was read anew', { jobs: Object.keys(this.#file.jobs).length });
      this.#apply();
      this.#found.follow(this.#file);
    } catch (error) {
      log.error(`the configuration stays as it was: ${messageOf(error)}`);
    }
    await notify('READY=1');
  }

  /** Takes what was read and what was found. */
  #apply(): void {
    const { clock, systemZone } = this.#options;
    const { current } = this.#found;
    this.#config = joined(this.#file, current);
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
    this.#found.follow(this.#file);
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
    if (start.length === 0 && notes.length === 0) return;
    // First on disk: a daemon that is killed from here on runs it again, and does not run twice what was due.
    await this.#save();
    for (const { name, run } of start) {
      const running: Promise<void> = this.#run(name, run).finally(() => this.#runs.delete(running));
      this.#runs.add(running);
    }
  }

  async #run(name: string, run: Running): Promise<void> {
    const { log, clock, program, manners } = this.#options;
    const began = performance.now();
    log.info(`${name} starts`, { job: name, due: run.due, why: run.why, attempt: run.attempt });
    let ended: Ended;
    try {
      const { argv, environment } = await commandOf(this.#config, name);
      const child = startChild(program, { job: name, argv: [...manners, ...argv], environment }, (told) =>
        this.#tell(name, told),
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
    const outcome = outcomeOf(ended, this.#stopping);
    const failures = this.#scheduler.states[name]?.failures ?? 0;
    this.#scheduler.finished(name, outcome, clock.now());
    const seconds = (performance.now() - began) / 1000;
    const result = outcome.ok
      ? 'ok'
      : outcome.stopped || outcome.engineGone || outcome.busy
        ? 'stopped'
        : 'failed';
    this.#metrics?.ended(name, result, seconds, ended, clock.now());
    const fields = { job: name, exit: ended.exit ?? null, seconds: Number(seconds.toFixed(1)) };
    if (outcome.ok) log.info(`${name} is done${ended.exit === 0 ? '' : ', but incomplete'}`, fields);
    else if (outcome.stopped) log.warn(`${name} was stopped; it runs again with the next start`, fields);
    else if (outcome.engineGone) log.warn(`${name} waits for its engine: ${failureText(ended)}`, fields);
    else if (outcome.busy) log.warn(`${name} waits: ${failureText(ended)}`, fields);
    else log.error(`${name} failed: ${failureText(ended)}`, { ...fields, code: ended.error?.code });
    if (outcome.engineGone || outcome.ok) this.#metrics?.engine(this.#hostOf(name), outcome.ok);
    if (outcome.ok) {
      this.#news('success', name, ended.exit === 0 ? 'It is done.' : 'It is done, but incomplete.');
      if (failures > 0) this.#news('recovery', name, `It works again, after ${failures} failures in a row.`);
    } else if (result === 'failed' && this.#scheduler.states[name]?.waiting?.why !== 'retry')
      this.#news('failure', name, failureText(ended));
    await this.#save();
    if (leftSomething(ended) && !this.#stopping) await this.#recover(this.#hostOf(name));
    this.#wake();
  }

  #news(event: NewsEvent, job: string, text: string): void {
    const { log, signal, clock } = this.#options;
    void tellNews(this.#config, { event, job, text, at: clock.now() }, log, signal);
  }

  #hostOf(name: string): string {
    return this.#config.jobs[name]?.host ?? this.#config.defaults.host ?? '';
  }

  #tell(job: string, { event, message, text }: Told): void {
    const said = message ?? text;
    if (said === undefined) return;
    if (event === 'warning' || event === 'stderr') this.#options.log.warn(`${job}: ${said}`, { job });
    else this.#options.log.info(`${job}: ${said}`, { job });
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

  #saving = Promise.resolve();

  /** One write at a time, each of what is known by then. A disk that is full must not keep jobs from running. */
  #save(): Promise<void> {
    const file = join(this.#options.stateDirectory, 'daemon', 'state.json');
    this.#saving = this.#saving.then(async () => {
      try {
        await writeStates(file, this.#scheduler.states);
      } catch (error) {
        this.#options.log.error(`what runs cannot be kept in ${file}: ${messageOf(error)}`);
      }
    });
    return this.#saving;
  }
}
