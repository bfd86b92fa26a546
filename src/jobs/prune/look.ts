import { VolbakError } from '../../core/errors.ts';
import { describeShrinking } from '../../core/shrunk.ts';
import type { Stopwatch } from '../../core/stopwatch.ts';
import { parseSegmentKey, SEGMENTS } from '../../repository/keys.ts';
import { formatSource } from '../../repository/references.ts';
import type { Repository } from '../../repository/repository.ts';
import { storeTime } from '../../repository/store-clock.ts';
import type { JobEnvironment } from '../environment.ts';
import { judgeSessions, type Liveness } from './liveness.ts';
import { clockJumped, jumpSince, type Memory, type MemoryPlace } from './memory.ts';
import { expectSeen, type Survey, survey } from './survey.ts';
import { type Judgement, judge } from './victims.ts';

/** What a pruner looks with. */
export interface Senses {
  /** A clock that nobody sets. */
  stopwatch: Stopwatch;
  memory: MemoryPlace;
}

export interface PruneRules {
  /** How long what nobody needs stays, in milliseconds. */
  graceMs: number;
  /** Also what was forgotten of sources whose newest snapshot shrank by more than half. */
  force: boolean;
  /** Snapshots that stood last time and are gone for good do not stop it. */
  acceptMissing: boolean;
}

export interface SegmentObject {
  name: string;
  size: number;
  modified: Date;
}

/** What one look at a repository found, and what follows from it. */
export interface Look {
  /** The store's clock, in milliseconds. */
  now: number;
  found: Survey;
  liveness: Liveness;
  segments: SegmentObject[];
  judgement: Judgement;
  /** Why what was forgotten of these sources stays. */
  shrunk: Map<string, string>;
}

/** The store's clock and ours may differ by this within one run: requests take their time. */
const RUN_DRIFT_MS = 2 * 60_000;
/** A snapshot younger than this may yet be taken back by the backup that made it. */
const SETTLED_MS = 3_600_000;

/** Looks at a repository, again and again, and knows what earlier looks found: also those of the last run. */
export class Lookout {
  readonly #env: JobEnvironment;
  readonly #repository: Repository;
  readonly #rules: PruneRules;
  readonly #senses: Senses;
  #watches: Memory['sessions'];
  #seen: string[];
  readonly #jumped: number | undefined;
  readonly #start: { store: number; own: number };
  #own: string | undefined;

  private constructor(
    env: JobEnvironment,
    repository: Repository,
    rules: PruneRules,
    senses: Senses,
    memory: Memory | undefined,
    now: number,
  ) {
    this.#env = env;
    this.#repository = repository;
    this.#rules = rules;
    this.#senses = senses;
    this.#watches = memory?.sessions ?? {};
    this.#seen = rules.acceptMissing ? [] : (memory?.seen ?? []);
    this.#jumped = memory?.jumped;
    this.#start = { store: now, own: senses.stopwatch.now() };
  }

  /** Reads the clocks. Raises REPOSITORY_BUSY where the store's jumped since the last run, once. */
  static async begin(
    env: JobEnvironment,
    repository: Repository,
    rules: PruneRules,
    senses: Senses,
  ): Promise<Lookout> {
    const memory = await senses.memory.read();
    const now = await storeTime(repository.store);
    const wallTime = env.clock.now().getTime();
    const jump = memory && jumpSince(memory, now, wallTime);
    if (memory && jump !== undefined) {
      await senses.memory.write({ ...memory, storeTime: now, wallTime, jumped: now });
      throw clockJumped(repository.store.label, jump);
    }
    return new Lookout(env, repository, rules, senses, memory, now);
  }

  /** Tells which session is the pruner's own: it needs nothing of what is there. */
  isOwn(session: string): void {
    this.#own = session;
  }

  /**
   * One look. Raises INTEGRITY where what it finds cannot be all: no snapshot at all, one that cannot be read, or one less than
   * before.
   */
  async look(): Promise<Look> {
    const { signal } = this.#env;
    const now = await this.#storeTime();
    const found = await survey(this.#repository, signal);
    const others = found.sessions.filter(({ id }) => id !== this.#own);
    const liveness = judgeSessions(others, this.#watches, now, this.#senses.stopwatch);
    this.#watches = liveness.watches;
    const segments = await this.#segments();
    if (found.snapshots.length === 0 && segments.length > 0) throw this.#empty();
    await expectSeen(this.#repository, this.#seen, found);
    this.#seen = settled(found, now);
    const shrunk = this.#shrunk(found);
    const judgement = judge(found, liveness, segments, {
      now,
      jumped: this.#jumped,
      graceMs: this.#rules.graceMs,
      shrunk: new Set(shrunk.keys()),
      sourceOf: ({ source }) => formatSource(source),
    });
    return { now, found, liveness, segments, judgement, shrunk };
  }

  /** Raises REPOSITORY_BUSY where the store's clock went otherwise than ours since the first look. */
  async #storeTime(): Promise<number> {
    const now = await storeTime(this.#repository.store);
    const jump = now - this.#start.store - (this.#senses.stopwatch.now() - this.#start.own);
    if (Math.abs(jump) > RUN_DRIFT_MS) throw clockJumped(this.#repository.store.label, jump);
    return now;
  }

  /** Notes for the next run what this look saw. */
  async remember({ found, now }: Look): Promise<void> {
    await this.#senses.memory.write({
      seen: settled(found, now),
      sessions: this.#watches,
      storeTime: await this.#storeTime(),
      wallTime: this.#env.clock.now().getTime(),
      ...(this.#jumped === undefined ? {} : { jumped: this.#jumped }),
    });
  }

  async #segments(): Promise<SegmentObject[]> {
    const segments: SegmentObject[] = [];
    for await (const { key, size, modified } of this.#repository.store.list(SEGMENTS)) {
      const name = parseSegmentKey(key);
      if (name) segments.push({ name, size, modified });
    }
    return segments;
  }

  #shrunk(found: Survey): Map<string, string> {
    const shrunk = new Map<string, string>();
    if (this.#rules.force) return shrunk;
    for (const [source, [newest, before]] of found.newest) {
      const why = describeShrinking(newest, before);
      if (why !== undefined) shrunk.set(source, why);
    }
    return shrunk;
  }

  #empty(): VolbakError {
    return new VolbakError(
      'INTEGRITY',
      `${this.#repository.store.label} lists segments, but not one snapshot`,
      {
        hint: 'Nothing was deleted. Is all of the repository there, and may these credentials list it?',
      },
    );
  }
}

function settled({ snapshots, condemned }: Survey, now: number): string[] {
  const ids = snapshots.filter(({ modified }) => now - modified > SETTLED_MS).map(({ id }) => id);
  return [...new Set([...ids, ...condemned.map(({ name }) => name.id)])];
}
