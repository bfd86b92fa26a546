import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { manifestKey, segmentKey } from '../../../src/repository/keys.ts';
import type { Manifest } from '../../../src/repository/manifest.ts';
import { Session } from '../../../src/repository/session.ts';
import type { Store } from '../../../src/store/store.ts';
import { interrupt } from '../../support/steps.ts';
import { restoredTar } from '../../support/tiny-backup.ts';
import { DAY, HOUR, MINUTE, nameOf, PrunerMachine, SOURCE, World } from '../../support/world.ts';

vi.mock('../../../src/codec/pool.ts', () => import('../../support/inline-pool.ts'));

// Whatever happens between two requests of a program: it ends in a clean error or with all that it promised, and no
// snapshot misses a frame.

const BIG = 24_000;
const OTHER = { ...SOURCE, name: 'other' };

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'setTimeout', 'clearTimeout'] });
});

afterEach(() => {
  vi.useRealTimers();
});

interface Stage {
  world: World;
  parent: Manifest;
  /** Of a backup that was killed: its segments stand, its snapshot does not. */
  killed: Manifest;
  machine: PrunerMachine;
}

/** A snapshot that can be forgotten with the next one, a condemned one past its grace, and one that stays. */
async function stage(): Promise<Stage> {
  const world = await World.make();
  const machine = new PrunerMachine(world);
  await world.backup({ z: [90, BIG] }, { source: OTHER });
  await world.backup({ y: [91, BIG], x: [92, BIG], w: [93, BIG] });
  world.time += HOUR;
  const parent = await world.backup({ a: [1, BIG], b: [2, BIG], w: [93, BIG] });
  const killed = await world.backup({ k: [95, BIG] });
  await world.store.delete(manifestKey(SOURCE, killed.id));
  world.time += HOUR;
  await world.forget({ last: 1 });
  world.time += 2 * DAY;
  return { world, parent, killed, machine };
}

/** Runs the program once for each of its requests, with something else before that. */
async function betweenEachTwo(
  program: (at: Stage, store: Store) => Promise<unknown>,
  meanwhile: (at: Stage) => Promise<unknown>,
): Promise<{ failed: number; done: number; codes: Set<string> }> {
  const count = { failed: 0, done: 0, codes: new Set<string>() };
  for (let at = 0; ; at++) {
    const set = await stage();
    const { steps, failure } = await interrupt(
      set.world.store,
      at,
      () => meanwhile(set),
      (store) => program(set, store),
    );
    if (failure) {
      expect(failure, `request ${at}`).toMatchObject({ name: 'VolbakError' });
      count.codes.add((failure as { code?: string }).code as string);
      count.failed++;
    } else count.done++;
    await set.world.expectWhole();
    if (steps <= at) return count;
    vi.clearAllTimers();
  }
}

const backup = ({ world, parent }: Stage, store: Store) =>
  world.backup({ a: [1, BIG], c: [3, BIG] }, { parent, store });

/** Goes on where a killed one stopped, and takes the rest from its parent. */
const resumed = ({ world, parent, killed }: Stage, store: Store = world.store) =>
  world.backup({ a: [1, BIG], c: [3, BIG], k: [95, BIG] }, { parent, pending: [killed], store });

/** The parent goes: a snapshot made beside the backup pushes it out. */
async function forgetParent({ world }: Pick<Stage, 'world'>): Promise<void> {
  world.time += MINUTE;
  await world.backup({ d: [4, 3 * BIG] });
  await world.forget({ last: 1 });
}

describe('between each two requests of a backup', () => {
  it('its parent is forgotten and pruned without a grace: it lives, so it succeeds or never began', async () => {
    const { failed, done, codes } = await betweenEachTwo(backup, async (at) => {
      await forgetParent(at);
      await at.machine.prune({ graceMs: 0 });
    });
    expect(done).toBeGreaterThan(failed);
    expect([...codes].sort()).toEqual(['SNAPSHOT_NOT_FOUND', 'STORE_NOT_FOUND']);
  });

  it('frames of a killed one that it takes are pruned: it notices, or stored them itself', async () => {
    const { failed, done, codes } = await betweenEachTwo(resumed, ({ machine }) =>
      machine.prune({ graceMs: 0 }),
    );
    expect(failed).toBeGreaterThan(3);
    expect(done).toBeGreaterThan(3);
    for (const code of codes) expect(['REPOSITORY_BUSY', 'INTEGRITY']).toContain(code);
  });

  it('it sleeps for three days, and two prunes with a short grace take it for dead', async () => {
    const { failed, done, codes } = await betweenEachTwo(backup, async (at) => {
      await forgetParent(at);
      at.world.time += 3 * DAY;
      await at.machine.prune({ graceMs: MINUTE });
      at.world.time += 11 * MINUTE;
      await at.machine.prune({ graceMs: MINUTE });
    });
    expect(failed).toBeGreaterThan(3);
    expect(done).toBeGreaterThan(0);
    expect([...codes]).toContain('REPOSITORY_BUSY');
  });

  it('its parent is rewritten: it succeeds', async () => {
    const { failed, done } = await betweenEachTwo(backup, async ({ world, machine }) => {
      await machine.prune({ graceMs: 0 });
      world.time += MINUTE;
    });
    expect(done).toBeGreaterThan(5);
    expect(failed).toBe(0);
  });

  it('the clock of the store jumps by three days, forwards or back, and prunes follow', async () => {
    for (const jump of [3 * DAY, -3 * DAY]) {
      const { done } = await betweenEachTwo(backup, async (at) => {
        await at.machine.prune();
        await forgetParent(at);
        at.world.storeSkew += jump;
        await expect(at.machine.prune()).rejects.toThrow('jumped');
        await at.machine.prune();
        await at.machine.prune({ graceMs: 0 });
      });
      expect(done).toBeGreaterThan(5);
    }
  });
});

const pruning = ({ machine }: Stage, store: Store) => machine.prune({ graceMs: 0 }, store);

describe('between each two requests of a prune', () => {
  it('a backup begins, takes frames that no snapshot needs, and ends', async () => {
    const { failed, done } = await betweenEachTwo(pruning, async (at) => {
      await resumed(at).catch((error) => expect(error.code).toBe('REPOSITORY_BUSY'));
    });
    expect(failed).toBe(0);
    expect(done).toBeGreaterThan(20);
  });

  it('snapshots are forgotten', async () => {
    const { failed } = await betweenEachTwo(pruning, forgetParent);
    expect(failed).toBe(0);
  });

  it('another prune runs: also where both rewrite', async () => {
    const { done, codes } = await betweenEachTwo(pruning, async ({ world }) => {
      await new PrunerMachine(world).prune({ graceMs: 0 });
    });
    expect(done).toBeGreaterThan(20);
    for (const code of codes) expect(['REPOSITORY_BUSY', 'INTEGRITY']).toContain(code);
  });

  it('it sleeps for days, and others forget, back up, prune it away, and back up again', async () => {
    const { failed, codes } = await betweenEachTwo(pruning, async (at) => {
      const { world } = at;
      await forgetParent(at);
      world.time += 3 * DAY;
      at.machine.slept += 3 * DAY;
      const other = new PrunerMachine(world);
      await other.prune({ graceMs: MINUTE });
      world.time += 11 * MINUTE;
      await other.prune({ graceMs: MINUTE });
      await world.backup({ a: [1, BIG], y: [91, BIG], e: [5, BIG] });
    });
    expect(failed).toBeGreaterThan(10);
    expect([...codes].sort()).toEqual(['INTEGRITY', 'REPOSITORY_BUSY'].filter((code) => codes.has(code)));
  });
});

describe('between each two requests of a forget', () => {
  it('prunes and backups run', async () => {
    const { failed } = await betweenEachTwo(
      async ({ world }, store) => {
        await world.forget({ last: 1 }, { store });
      },
      async (at) => {
        await at.machine.prune({ graceMs: 0 });
        await backup(at, at.world.store);
      },
    );
    expect(failed).toBe(0);
  });
});

describe('long backups', () => {
  it('of 30 hours, whose parent is condemned a minute after they began, while prunes run every hour', async () => {
    const { world, parent, machine } = await stage();
    let hours = 0;
    const pace = async () => {
      world.time += MINUTE;
      if (hours === 0) await forgetParent({ world });
      for (let i = 0; i < 8 && hours < 30; i++, hours++) {
        await world.pass(HOUR);
        await machine.prune();
      }
    };
    const files: Record<string, [number, number]> = { a: [1, BIG], b: [2, BIG], c: [3, BIG] };
    const manifest = await world.backup(files, { parent, pace });
    expect(hours).toBe(30);
    expect(manifest.volumes[0]?.newBytes).toBeLessThan(2 * BIG);
    await world.expectWhole();
    world.time += 2 * DAY;
    await machine.prune();
    await world.expectWhole();
  });

  it('that slept over a weekend end in a clean error once a prune took them for dead', async () => {
    const { world, parent, machine } = await stage();
    let asleep = true;
    const pace = async () => {
      if (!asleep) return;
      asleep = false;
      for (let night = 0; night < 3; night++) {
        world.time += DAY;
        await machine.prune();
      }
    };
    const run = world.backup({ a: [1, BIG], c: [3, BIG] }, { parent, pace });
    await expect(run).rejects.toMatchObject({ code: 'REPOSITORY_BUSY' });
    await world.expectWhole();
    await world.backup({ a: [1, BIG], c: [3, BIG] }, { parent });
    await world.expectWhole();
  });
});

describe('long restores', () => {
  it('finish what they began though it was forgotten, rewritten and pruned meanwhile', async () => {
    const { world, parent, machine } = await stage();
    const session = await Session.begin({
      store: world.store,
      kind: 'restore',
      uses: [nameOf(parent)],
      now: () => world.time,
    });
    const repository = await world.repository();
    const manifest = await repository.manifest(nameOf(parent));
    await machine.prune({ graceMs: HOUR });
    await forgetParent({ world });
    for (let hour = 0; hour < 50; hour++) {
      await world.pass(HOUR);
      await machine.prune({ graceMs: HOUR });
    }
    for (const name of manifest.volumes.flatMap((volume) => volume.segments))
      expect(await world.keys('segments/')).toContain(segmentKey(name));
    vi.spyOn(repository, 'manifest').mockResolvedValue(manifest);
    expect(await restoredTar(repository, nameOf(parent))).toBe(world.contents.get(parent.id));
    await session.end();
    await machine.prune({ graceMs: HOUR });
    await world.expectWhole();
  });
});
