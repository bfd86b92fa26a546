import { createHash } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { isVolbakError } from '../../../src/core/errors.ts';
import { readTar } from '../../../src/repository/index-reader.ts';
import type { SnapshotName, Source } from '../../../src/repository/keys.ts';
import { Repository } from '../../../src/repository/repository.ts';
import { Session } from '../../../src/repository/session.ts';
import { FaultStore } from '../../../src/store/fault.ts';
import { RetryStore } from '../../../src/store/retry.ts';
import type { Store } from '../../../src/store/store.ts';
import { createFramePool } from '../../support/inline-pool.ts';
import { SteppedStore } from '../../support/steps.ts';
import { restoredTar } from '../../support/tiny-backup.ts';
import { DAY, HOUR, MINUTE, nameOf, PrunerMachine, World } from '../../support/world.ts';

vi.mock('../../../src/codec/pool.ts', () => import('../../support/inline-pool.ts'));

// Writers, readers and pruners at once on a store that fails, with clocks that lie, sleeps, and kills. Which request comes
// next is chosen by a seed: VOLBAK_FIRST_SEED=<seed> VOLBAK_SEEDS=1 runs one of them again. `npm run soak` runs many.

const SOAK = process.env.VOLBAK_SOAK === '1';
const SEEDS = Number(process.env.VOLBAK_SEEDS ?? (SOAK ? 400 : 8));
const FIRST = Number(process.env.VOLBAK_FIRST_SEED ?? 1);
const SOURCES: Source[] = [0, 1, 2].map((n) => ({ host: 'h', kind: 'volume', name: `v${n}` }));

function chance(seed: number): () => number {
  let state = Math.imul(seed + 1, 0x9e3779b1) | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A program that runs: it may be halted for hours, or killed at any request. */
class Program {
  readonly #show: Simulation;
  readonly skew: number;
  haltedUntil = 0;
  #haltedAt = 0;
  killed = false;

  constructor(show: Simulation, skew: number) {
    this.#show = show;
    this.skew = skew;
  }

  /** Its wall clock; while it is halted it reads none. */
  readonly now = (): number => {
    const { time } = this.#show.world;
    return (time < this.haltedUntil ? this.#haltedAt : time) + this.skew;
  };

  halt(ms: number): void {
    this.#haltedAt = this.#show.world.time;
    this.haltedUntil = this.#haltedAt + ms;
  }

  runs(): boolean {
    return !this.killed && this.#show.world.time >= this.haltedUntil;
  }
}

class Simulation {
  readonly random: () => number;
  readonly seed: number;
  world!: World;
  #waiting: { program: Program; from: number; go: () => void }[] = [];
  #stores = 0;
  /** Snapshots whose backups ended badly: they stand only where a kill or a fault came between put and second check. */
  readonly unsure = new Set<string>();
  readonly count = {
    backups: 0,
    refused: 0,
    killed: 0,
    reads: 0,
    prunes: 0,
    stopped: 0,
    deleted: 0,
    rewritten: 0,
  };

  constructor(seed: number) {
    this.seed = seed;
    this.random = chance(seed);
  }

  below(n: number): number {
    return Math.floor(this.random() * n);
  }

  /** Waits for its turn, not before `ms` from now. */
  turn(program: Program, ms = 0): Promise<void> {
    return new Promise((go) => {
      this.#waiting.push({ program, from: this.world.time + ms, go });
    });
  }

  /** The store as one program sees it: with faults, one request at a time. */
  storeFor(program: Program): Store {
    const rate = 0.01 * this.random();
    const faults = new FaultStore(this.world.store, {
      seed: this.seed * 1000 + this.#stores++,
      rates: {
        put: { fail: rate, lost: rate },
        get: { fail: rate },
        stat: { fail: rate },
        list: { fail: rate, cut: rate },
        delete: { fail: rate, lost: rate },
      },
    });
    const stepped = new SteppedStore(faults, () => this.turn(program));
    if (this.random() < 0.3) return stepped;
    const now = () => this.world.time;
    return new RetryStore(stepped, { limitMs: 120_000, wait: (ms) => this.turn(program, ms), now });
  }

  /** Lets requests through, one after another, until all programs are done. */
  async play(programs: Promise<void>[], onTurn: () => void): Promise<void> {
    let open = programs.length;
    for (const program of programs) void program.then(() => open--);
    for (let idle = 0; open > 0; ) {
      for (let i = 0; i < 4; i++) await new Promise((resolve) => setImmediate(resolve));
      this.#waiting = this.#waiting.filter(({ program }) => !program.killed);
      const ready = this.#waiting.filter(({ program, from }) => program.runs() && from <= this.world.time);
      if (ready.length === 0) {
        if (++idle > 100_000) throw new Error(`seed ${this.seed} hangs`);
        this.#pass(this.#waiting.length === 0 ? 0 : MINUTE);
        continue;
      }
      idle = 0;
      const next = ready[this.below(ready.length)] as (typeof ready)[0];
      this.#waiting.splice(this.#waiting.indexOf(next), 1);
      this.#pass(this.random() < 0.01 ? this.below(20 * MINUTE) : this.below(10_000));
      onTurn();
      next.go();
    }
  }

  #pass(ms: number): void {
    this.world.time += ms;
    vi.advanceTimersByTime(ms);
  }
}

/** One backup: a process of its own, that may halt or be killed. */
async function runBackup(show: Simulation, skew: number): Promise<void> {
  const program = new Program(show, skew);
  const store = show.storeFor(program);
  const source = SOURCES[show.below(SOURCES.length)] as Source;
  const files: Record<string, [number, number]> = {};
  for (let i = 0; i < 5; i++) files[`f${i}`] = [i * 100 + show.below(3), 20_000];
  const random = show
    .below(2 ** 24)
    .toString(16)
    .padStart(6, '0');
  const killAt = show.random() < 0.12 ? show.below(60) : -1;
  const haltAt = show.random() < 0.2 ? show.below(60) : -1;
  let step = 0;
  const stepped = new SteppedStore(store, async () => {
    if (step === haltAt) program.halt(show.below(20 * HOUR));
    if (step++ === killAt) {
      program.killed = true;
      show.count.killed++;
      show.unsure.add(random);
      await new Promise(() => {});
    }
  });
  const work = (async () => {
    const repository = await Repository.open(stepped);
    const parent = (await repository.snapshotNames()).findLast((s) => s.source.name === source.name);
    const manifest = parent && (await repository.manifest(parent));
    const pace = () => show.turn(program, show.random() < 0.1 ? show.below(3 * HOUR) : 0);
    const options = { store: stepped, source, skew, pace, random, now: program.now };
    await show.world.backup(files, manifest ? { ...options, parent: manifest } : options);
    show.count.backups++;
  })().catch((error) => {
    if (!isVolbakError(error)) throw error;
    show.unsure.add(random);
    show.count.refused++;
  });
  await Promise.race([work, untilKilled(program)]);
}

async function untilKilled(program: Program): Promise<void> {
  while (!program.killed) await new Promise((resolve) => setImmediate(resolve));
}

async function writer(show: Simulation, index: number): Promise<void> {
  const skew = (index - 1) * 3 * HOUR;
  const rest = new Program(show, 0);
  for (let i = 0; i < 6; i++) {
    await runBackup(show, skew);
    await show.turn(rest, show.below(10 * HOUR));
  }
}

async function pruner(show: Simulation, index: number): Promise<void> {
  const machine = new PrunerMachine(show.world);
  machine.skew = index * 5 * HOUR;
  const rest = new Program(show, 0);
  for (let i = 0; i < 14; i++) {
    const program = new Program(show, machine.skew);
    const store = show.storeFor(program);
    const haltAt = show.random() < 0.15 ? show.below(80) : -1;
    let step = 0;
    const stepped = new SteppedStore(store, async () => {
      if (step++ === haltAt) program.halt(show.below(5 * HOUR));
    });
    const graceMs = [MINUTE, HOUR, DAY][show.below(3)] as number;
    try {
      if (show.random() < 0.6) await show.world.forget({ last: 2 }, { store: stepped, force: true });
      const acceptMissing = show.random() < 0.5;
      const now = program.now;
      const report = await machine.prune({ graceMs, acceptMissing, force: true }, stepped, now);
      show.count.prunes++;
      show.count.deleted += report.deleted.segments;
      show.count.rewritten += report.rewritten.snapshots;
    } catch (error) {
      if (!isVolbakError(error)) throw error;
      show.count.stopped++;
    }
    await show.turn(rest, show.below(8 * HOUR));
  }
}

/** Reads a snapshot slowly while it is forgotten, rewritten and pruned: it gets all of it. */
async function reader(show: Simulation): Promise<void> {
  const rest = new Program(show, 0);
  for (let i = 0; i < 6; i++) {
    await show.turn(rest, show.below(12 * HOUR));
    const program = new Program(show, 2 * HOUR);
    const stepped = new SteppedStore(show.world.store, () => show.turn(program));
    const repository = await Repository.open(stepped);
    const names = (await repository.snapshotNames()).filter(({ id }) => show.world.contents.has(id));
    const name = names[show.below(names.length)];
    if (!name) continue;
    const session = await begin(stepped, name, program).catch(() => undefined);
    if (!session) continue;
    const hash = createHash('sha256');
    const manifest = await repository.manifest(name).catch(() => undefined);
    for (const { index } of manifest?.volumes ?? []) {
      for await (const bytes of readTar(index, { store: stepped, pool: createFramePool(), parallel: 1 })) {
        hash.update(bytes);
        await show.turn(program, show.below(3 * HOUR));
      }
    }
    if (manifest) {
      expect(hash.digest('hex'), `seed ${show.seed}: read of ${name.id}`).toBe(
        show.world.contents.get(name.id),
      );
      show.count.reads++;
    }
    await session.end();
  }
}

function begin(store: Store, name: SnapshotName, { now }: Program): Promise<Session> {
  return Session.begin({ store, kind: 'restore', uses: [name], now });
}

/** The store's clock jumps now and then: by hours, by days, and back. */
function jumps(show: Simulation): () => void {
  let next = 2000 + show.below(4000);
  let turn = 0;
  return () => {
    if (turn++ !== next) return;
    next += 2000 + show.below(4000);
    show.world.storeSkew += (show.random() - 0.4) * 6 * DAY;
  };
}

async function expectWhole(show: Simulation): Promise<void> {
  const repository = await Repository.open(show.world.store);
  for (const name of await repository.snapshotNames()) {
    const known = show.world.contents.get(name.id);
    if (known === undefined && show.unsure.has(name.id.slice(-6))) continue;
    const restored = await restoredTar(repository, name);
    expect(restored, `seed ${show.seed}: ${name.id}`).toBe(known);
  }
}

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'setTimeout', 'clearTimeout'] });
});

afterEach(() => {
  vi.useRealTimers();
});

async function simulate(seed: number): Promise<Simulation['count']> {
  const show = new Simulation(seed);
  show.world = await World.make();
  for (const source of SOURCES) {
    const first = await show.world.backup({ f0: [0, 20_000], f1: [100, 20_000] }, { source });
    show.world.time += HOUR;
    await show.world.backup({ f0: [0, 20_000], f2: [200, 20_000] }, { source, parent: first });
    expect(nameOf(first).id).toBe(first.id);
  }
  const programs = [0, 1, 2, 3].map((n) => writer(show, n));
  programs.push(pruner(show, 0), pruner(show, 1), reader(show));
  const all = programs.map((program) => program.catch((error) => failures.push(error)).then(() => {}));
  const failures: unknown[] = [];
  await show.play(all, jumps(show));
  if (failures.length > 0) throw failures[0];
  await expectWhole(show);
  vi.clearAllTimers();
  return show.count;
}

describe(`4 writers, 2 pruners and a reader, ${SEEDS} seeds`, () => {
  it('no snapshot ever misses a frame', async () => {
    const total: Record<string, number> = {};
    for (let seed = FIRST; seed < FIRST + SEEDS; seed++) {
      const count = await simulate(seed).catch((error) => {
        throw new Error(`VOLBAK_FIRST_SEED=${seed} VOLBAK_SEEDS=1: ${error.message}`, { cause: error });
      });
      for (const [what, n] of Object.entries(count)) total[what] = (total[what] ?? 0) + n;
    }
    console.log(`seeds ${FIRST} to ${FIRST + SEEDS - 1}: ${JSON.stringify(total)}`);
    if (SEEDS < 8) return;
    for (const [what, n] of Object.entries(total)) expect(n, what).toBeGreaterThan(0);
  }, 3_600_000);
});
