import { beforeEach, describe, expect, it, vi } from 'vitest';
import { VolbakError } from '../../../src/core/errors.ts';
import { planForget } from '../../../src/jobs/forget/forget.ts';
import { DAY, HOUR, PrunerMachine, World } from '../../support/world.ts';

vi.mock('../../../src/codec/pool.ts', () => import('../../support/inline-pool.ts'));

const code = (wanted: string) => expect.objectContaining({ code: wanted });

let world: World;

beforeEach(async () => {
  world = await World.make();
});

async function days(count: number): Promise<string[]> {
  const ids: string[] = [];
  for (let day = 0; day < count; day++) {
    ids.push((await world.backup({ a: [day, 2000] })).id);
    world.time += DAY;
  }
  return ids;
}

const standing = async () => (await (await world.repository()).snapshotNames()).map(({ id }) => id);

describe('forget', () => {
  it('moves manifests to condemned/, as they are, and touches no data', async () => {
    const ids = await days(4);
    const [key] = (await world.keys('snapshots/')) as [string];
    const bytes = await world.store.get(key);
    const segments = await world.keys('segments/');
    await world.forget({ daily: 3 });
    expect(await standing()).toEqual(ids.slice(1));
    const [copy] = (await world.keys('condemned/')) as [string];
    expect(copy).toMatch(new RegExp(`^condemned/h/volume/v/${ids[0]}\\.[0-9a-f]{8}\\.json\\.zst$`));
    expect((await world.store.get(copy)).equals(bytes)).toBe(true);
    expect(await world.keys('segments/')).toEqual(segments);
  });

  it('copies before it removes: stopped in between, nothing is lost, and it can be run again', async () => {
    const ids = await days(3);
    const remove = world.store.delete.bind(world.store);
    const spy = vi.spyOn(world.store, 'delete').mockImplementation(async (key) => {
      if (key.startsWith('snapshots/')) throw new Error('killed');
      await remove(key);
    });
    await expect(world.forget({ last: 1 })).rejects.toThrow('killed');
    spy.mockRestore();
    expect(await standing()).toEqual(ids);
    expect(await world.keys('condemned/')).toHaveLength(2);
    await world.forget({ last: 1 });
    expect(await standing()).toEqual(ids.slice(2));
    await world.expectWhole();
  });

  it('and prune change nothing where they may not delete', async () => {
    await days(3);
    const before = await world.keys('');
    const denied = new VolbakError('STORE_DENIED', 'no');
    vi.spyOn(world.store, 'delete').mockRejectedValue(denied);
    await expect(world.forget({ last: 1 })).rejects.toBe(denied);
    await expect(new PrunerMachine(world).prune({ graceMs: 0 })).rejects.toBe(denied);
    vi.restoreAllMocks();
    expect((await world.keys('')).filter((key) => !key.startsWith('probe-'))).toEqual(before);
  });

  it('judges each source by itself', async () => {
    const other = { host: 'h', kind: 'container', name: 'c' } as const;
    await days(2);
    const theirs = await world.backup({ a: [1, 2000] }, { source: other });
    world.time += DAY;
    const plan = await world.forget({ last: 1 });
    expect(plan.sources.map(({ source }) => source)).toEqual(['h/container/c', 'h/volume/v']);
    expect(await standing()).toContain(theirs.id);
    expect(await standing()).toHaveLength(2);
  });

  it('without a rule is wrong usage and removes nothing', async () => {
    const ids = await days(2);
    await expect(world.forget({})).rejects.toThrow(code('USAGE'));
    await expect(world.forget({ tags: [] })).rejects.toThrow(code('USAGE'));
    expect(await standing()).toEqual(ids);
  });

  it('leaves a source alone whose newest snapshot shrank by more than half, until told otherwise', async () => {
    await world.backup({ a: [1, 20_000] });
    world.time += HOUR;
    await world.backup({ a: [1, 50_000] });
    world.time += HOUR;
    await world.backup({ a: [1, 10_000] });
    const plan = await world.forget({ last: 1 });
    expect(plan.remove).toEqual([]);
    expect(plan.sources[0]?.spared).toContain('less than half');
    expect(await standing()).toHaveLength(3);
    await world.forget({ last: 1 }, { force: true });
    expect(await standing()).toHaveLength(1);
  });

  it('sees the shrinking by files, too', async () => {
    await world.backup({ a: [1, 10], b: [2, 10], c: [3, 10], d: [4, 60_000] });
    world.time += HOUR;
    await world.backup({ d: [4, 60_000] });
    expect((await world.forget({ last: 1 })).remove).toEqual([]);
  });

  it('keeps what it cannot read, and says so', async () => {
    const ids = await days(3);
    const [key] = (await world.keys('snapshots/')) as [string];
    await world.store.put(key, Buffer.from('damaged'));
    const plan = await world.forget({ last: 1 });
    expect(plan.sources[0]?.snapshots[0]).toMatchObject({ status: 'unreadable', keep: true });
    expect(await standing()).toEqual([ids[0], ids[2]]);
  });

  it('keeps the last complete snapshot when later ones are partial', async () => {
    const complete = await world.backup({ a: [1, 2000] });
    for (let i = 0; i < 3; i++) {
      world.time += DAY;
      await world.backup({ a: [i, 2000] }, { status: 'partial' });
    }
    await world.forget({ last: 1 });
    expect(await standing()).toContain(complete.id);
    expect(await standing()).toHaveLength(2);
  });

  it('removes nothing where a snapshot went away on which it counted', async () => {
    const ids = await days(3);
    const repository = await world.repository();
    const names = await repository.snapshotNames();
    const plan = await planForget(world.env(), repository, names, {
      rules: { last: 1 },
      zone: 'UTC',
      force: false,
    });
    await world.store.delete((await world.keys('snapshots/')).at(-1) as string);
    const { forget } = await import('../../../src/jobs/forget/forget.ts');
    await expect(forget(world.env(), repository, plan)).rejects.toThrow(code('REPOSITORY_BUSY'));
    expect(await standing()).toEqual(ids.slice(0, 2));
  });
});
