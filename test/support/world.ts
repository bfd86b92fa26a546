import { expect, vi } from 'vitest';
import type { Stopwatch } from '../../src/core/stopwatch.ts';
import type { JobEnvironment } from '../../src/jobs/environment.ts';
import { forget, planForget } from '../../src/jobs/forget/forget.ts';
import type { Memory, MemoryPlace } from '../../src/jobs/prune/memory.ts';
import { type PruneOptions, type PruneReport, prune } from '../../src/jobs/prune/prune.ts';
import type { SnapshotName, Source } from '../../src/repository/keys.ts';
import type { Manifest } from '../../src/repository/manifest.ts';
import { Repository } from '../../src/repository/repository.ts';
import type { RetentionRules } from '../../src/repository/retention.ts';
import { MemoryStore } from '../../src/store/memory.ts';
import type { Store } from '../../src/store/store.ts';
import { expectedTar, noise, restoredTar, tinyBackup } from './tiny-backup.ts';

export const MINUTE = 60_000;
export const HOUR = 60 * MINUTE;
export const DAY = 24 * HOUR;

export const SOURCE: Source = { host: 'h', kind: 'volume', name: 'v' };

/** Time as it really goes by; the store's clock and a machine's may show something else. */
export class World {
  /** Milliseconds, whatever any clock shows. */
  time = Date.UTC(2026, 10, 20, 20, 30);
  /** How far the store's clock is ahead. */
  storeSkew = 0;
  readonly store = new MemoryStore({ now: () => new Date(this.time + this.storeSkew) });
  /** What each snapshot must give back. */
  readonly contents = new Map<string, string>();
  #ids = 0;

  static async make(): Promise<World> {
    const world = new World();
    await Repository.openOrInit(world.store, new Date(world.time));
    return world;
  }

  repository(store: Store = this.store): Promise<Repository> {
    return Repository.open(store);
  }

  /** A backup of made-up files: `[seed, size]` by name. */
  async backup(
    files: Record<string, [seed: number, size: number]>,
    more: {
      parent?: Manifest;
      pending?: Manifest[];
      source?: Source;
      status?: Manifest['status'];
      tags?: Manifest['tags'];
      store?: Store;
      skew?: number;
      pace?: () => Promise<void>;
      random?: string;
      now?: () => number;
    } = {},
  ): Promise<Manifest> {
    const { parent, source = SOURCE, store, skew = 0, ...rest } = more;
    const contents = Object.fromEntries(
      Object.entries(files).map(([name, [seed, size]]) => [name, noise(seed, size)]),
    );
    const manifest = await tinyBackup({
      repository: await this.repository(store),
      source,
      files: contents,
      now: () => this.time + skew,
      random: (++this.#ids).toString(16).padStart(6, '0'),
      ...(parent ? { parent: nameOf(parent) } : {}),
      ...rest,
    });
    this.contents.set(manifest.id, expectedTar(contents));
    return manifest;
  }

  /** Time goes by, and who is awake shows it: with vitest's timers. */
  async pass(ms: number): Promise<void> {
    for (let left = ms; left > 0; left -= 5 * MINUTE) {
      const step = Math.min(left, 5 * MINUTE);
      this.time += step;
      await vi.advanceTimersByTimeAsync(step);
    }
  }

  env(skew = 0): JobEnvironment {
    return {
      emit: () => {},
      clock: { now: () => new Date(this.time + skew) },
      signal: new AbortController().signal,
      stateDirectory: '/nonexistent',
      cacheDirectory: '/nonexistent',
      version: 'test',
    };
  }

  /** Names of all objects below a prefix. */
  async keys(prefix: string, store: Store = this.store): Promise<string[]> {
    const keys: string[] = [];
    for await (const { key } of store.list(prefix)) keys.push(key);
    return keys.sort();
  }

  async forget(rules: RetentionRules, { force = false, store }: { force?: boolean; store?: Store } = {}) {
    const repository = await this.repository(store);
    const options = { rules, zone: 'UTC', force };
    const plan = await planForget(this.env(), repository, await repository.snapshotNames(), options);
    await forget(this.env(), repository, plan);
    return plan;
  }

  /** Every snapshot that stands gives back what was backed up. */
  async expectWhole(): Promise<void> {
    const repository = await this.repository();
    for (const name of await repository.snapshotNames()) {
      const expected = this.contents.get(name.id);
      expect(await restoredTar(repository, name), name.id).toBe(expected);
    }
  }
}

export const nameOf = ({ id, source: { host, kind, name } }: Manifest): SnapshotName => ({
  id,
  source: { host, kind, name },
});

export const DEFAULTS: PruneOptions = {
  graceMs: DAY,
  dryRun: false,
  force: false,
  acceptMissing: false,
  wait: false,
  verify: false,
  rewrite: true,
};

/** A machine that prunes: with a memory and a monotonic clock of its own. */
export class PrunerMachine implements MemoryPlace {
  readonly #world: World;
  memory: Memory | undefined;
  boot = 'first';
  /** How long it slept: its monotonic clock stood still. */
  slept = 0;
  skew = 0;
  readonly stopwatch: Stopwatch;

  constructor(world: World) {
    this.#world = world;
    const machine = this;
    this.stopwatch = {
      now: () => world.time - machine.slept,
      get boot() {
        return machine.boot;
      },
    };
  }

  async read(): Promise<Memory | undefined> {
    return this.memory && structuredClone(this.memory);
  }

  async write(memory: Memory): Promise<void> {
    this.memory = structuredClone(memory);
  }

  /** `now` is its wall clock where that is not the world's. */
  async prune(options: Partial<PruneOptions> = {}, store?: Store, now?: () => number): Promise<PruneReport> {
    const repository = await this.#world.repository(store);
    const senses = { stopwatch: this.stopwatch, memory: this };
    const env = this.#world.env(this.skew);
    if (now) env.clock = { now: () => new Date(now()) };
    return prune(env, repository, { ...DEFAULTS, ...options }, senses);
  }
}
