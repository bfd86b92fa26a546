import type { LabelJobs } from '../config/labels.ts';
import type { ConfigFile } from '../config/schema.ts';
import { messageOf } from '../core/errors.ts';
import { plural } from '../core/units.ts';
import type { Log } from './log.ts';

/** What a search for jobs tells. */
export interface Finder {
  /** All there are, first and whenever that may have changed. */
  found(jobs: LabelJobs): void;
  /** Where they are looked for is not there; it is tried again. */
  lost(error: unknown): void;
}

/** Looks for jobs outside of the configuration, until the signal; raises nothing. */
export type Discover = (config: ConfigFile, finder: Finder, signal: AbortSignal) => Promise<void>;

export interface FoundOptions {
  discover: Discover;
  log: Log;
  signal: AbortSignal;
  changed(): void;
  /** Something is wrong with a container's labels. */
  problem(container: string, message: string): void;
}

const NONE: LabelJobs = { jobs: {}, claims: {}, problems: [] };
/** Names told of in one line of the log. */
const MAX_NAMES = 5;

/** Jobs from labels of containers, as they come and go. */
export class FoundJobs {
  readonly #options: FoundOptions;
  #current = NONE;
  #text = '';
  #told = new Set<string>();
  #search: AbortController | undefined;
  readonly #searches: Promise<void>[] = [];
  #lost = false;

  constructor(options: FoundOptions) {
    this.#options = options;
  }

  get current(): LabelJobs {
    return this.#current;
  }

  /** Follows what a configuration says about labels; until the first answer what was known before stays. */
  follow(config: ConfigFile): void {
    this.#search?.abort();
    const search = new AbortController();
    this.#search = search;
    if (config.labels?.enable) this.#searchFor(config, search);
    else this.#take(NONE);
  }

  #searchFor(config: ConfigFile, search: AbortController): void {
    const signal = AbortSignal.any([this.#options.signal, search.signal]);
    let first = true;
    const finder: Finder = {
      found: (jobs) => {
        if (signal.aborted) return;
        this.#answered();
        if (first && Object.keys(jobs.jobs).length === 0)
          this.#options.log.warn('no container is labelled volbak.enable=true, of those that were asked for');
        first = false;
        this.#take(jobs);
      },
      lost: (error) => this.#missing(error),
    };
    this.#searches.push(this.#options.discover(config, finder, signal));
  }

  /** Resolves when nothing is looked for any more. */
  async end(): Promise<void> {
    this.#search?.abort();
    await Promise.all(this.#searches);
  }

  #take(found: LabelJobs): void {
    this.#tellProblems(found);
    const text = JSON.stringify(found);
    if (text === this.#text || (found === NONE && this.#text === '')) return;
    const [before, now] = [Object.keys(this.#current.jobs), Object.keys(found.jobs)];
    const came = now.filter((name) => !before.includes(name));
    const went = before.filter((name) => !now.includes(name));
    this.#text = text;
    this.#current = found;
    const parts = [described(came, 'came'), described(went, 'went')].filter((part) => part !== '');
    if (parts.length > 0)
      this.#options.log.info(`labels: ${parts.join('; ')}`, { jobs: now.length, came, went });
    this.#options.changed();
  }

  /** Each once, as long as it stays. */
  #tellProblems({ problems }: LabelJobs): void {
    const told = new Set<string>();
    const news = new Map<string, string[]>();
    for (const { container, message } of problems) {
      const text = `container ${container}: ${message}`;
      told.add(text);
      if (this.#told.has(text)) continue;
      this.#options.log.warn(text, { container });
      news.set(container, [...(news.get(container) ?? []), text]);
    }
    this.#told = told;
    for (const [container, texts] of news) this.#options.problem(container, texts.join('\n'));
  }

  #missing(error: unknown): void {
    if (!this.#lost) this.#options.log.warn(`labels stay as they were last seen: ${messageOf(error)}`);
    this.#lost = true;
  }

  #answered(): void {
    if (this.#lost) this.#options.log.info('labels: the engine answers again');
    this.#lost = false;
  }
}

function described(names: readonly string[], what: string): string {
  if (names.length === 0) return '';
  const some = names.slice(0, MAX_NAMES).join(', ');
  return `${plural(names.length, 'job')} ${what} (${some}${names.length > MAX_NAMES ? ', …' : ''})`;
}
