import { beforeEach, describe, expect, it, vi } from 'vitest';
import { CopyJob } from '../../../src/jobs/copy/copy.ts';
import { isSampled } from '../../../src/jobs/verify/check-segment.ts';
import { type Repaired, repair } from '../../../src/jobs/verify/repair.ts';
import { VerifyJob, type VerifyOptions, type VerifyResult } from '../../../src/jobs/verify/verify.ts';
import { manifestKey, segmentKey } from '../../../src/repository/keys.ts';
import type { Manifest } from '../../../src/repository/manifest.ts';
import { Repository } from '../../../src/repository/repository.ts';
import { MemoryStore } from '../../../src/store/memory.ts';
import { tempDir } from '../../support/temp.ts';
import { noise, restoredTar } from '../../support/tiny-backup.ts';
import { HOUR, nameOf, PrunerMachine, SOURCE, World } from '../../support/world.ts';

vi.mock('../../../src/codec/pool.ts', () => import('../../support/inline-pool.ts'));

const BIG = 50_000;

let world: World;
let first: Manifest;
let second: Manifest;

beforeEach(async () => {
  world = await World.make();
  first = await world.backup({ a: [1, BIG], b: [2, BIG], small: [3, 100] });
  world.time += HOUR;
  second = await world.backup({ a: [1, BIG], c: [4, BIG] }, { parent: first });
});

async function verify(options: Partial<VerifyOptions> = {}): Promise<VerifyResult & { job: VerifyJob }> {
  const repository = await world.repository();
  const job = new VerifyJob(world.env(), repository, { quick: false, ...options });
  return { ...(await job.run(await repository.snapshotNames())), job };
}

async function flip(key: string, at: number, bit: number): Promise<void> {
  const bytes = await world.store.get(key);
  bytes[at] = (bytes[at] as number) ^ (1 << bit);
  await world.store.put(key, bytes);
}

/** No snapshot gives back anything but what was backed up: it is that, or an error. Answers with how many are errors. */
async function restoreAll(): Promise<number> {
  const repository = await Repository.open(world.store).catch(() => undefined);
  let errors = 0;
  for (const manifest of [first, second]) {
    const tar = await (repository ? restoredTar(repository, nameOf(manifest)) : undefined)?.catch((error) => {
      expect(error).toMatchObject({ name: 'VolbakError' });
      return undefined;
    });
    if (tar === undefined) errors++;
    else expect(tar).toBe(world.contents.get(manifest.id));
  }
  return errors;
}

describe('verify finds', () => {
  it('nothing in a whole repository', async () => {
    const result = await verify();
    expect(result.errors).toEqual([]);
    expect(result.segments).toBe(new Set([...segmentsOf(first), ...segmentsOf(second)]).size);
    expect(result.frames).toBeGreaterThan(6);
  });

  it('each flipped bit, of 400 by chance, in every segment and manifest; and no restore gives wrong data', async () => {
    const keys = [...(await world.keys('segments/')), ...(await world.keys('snapshots/'))];
    const where = noise(77, 1600);
    for (let i = 0; i < 400; i++) {
      const key = keys[i % keys.length] as string;
      const { size } = await world.store.stat(key);
      const [at, bit] = [where.readUInt32LE(i * 4) % size, i % 8];
      await flip(key, at, bit);
      const { errors } = await verify();
      const what = `seed 77, number ${i}: bit ${bit} of byte ${at} of ${key}`;
      // What zstd does not look at in a manifest's frame header changes nothing that is read.
      const harmless = key.startsWith('snapshots/') && (await restoreAll()) === 0;
      if (!harmless) expect(errors.length, what).toBeGreaterThan(0);
      await restoreAll();
      await flip(key, at, bit);
    }
    expect((await verify()).errors).toEqual([]);
  }, 120_000);

  it('each object that is deleted or cut short, of each kind', async () => {
    for (const key of [...(await world.keys('segments/')), ...(await world.keys('snapshots/'))]) {
      const bytes = await world.store.get(key);
      for (const length of [0, 1, 31, bytes.length >> 1, bytes.length - 1]) {
        await world.store.put(key, bytes.subarray(0, length));
        expect((await verify()).errors.length, `${key} cut to ${length}`).toBeGreaterThan(0);
        // The last frame may be zeros, which no restore reads.
        const failed = await restoreAll();
        if (length < bytes.length - 1) expect(failed).toBeGreaterThan(0);
      }
      await world.store.delete(key);
      if (key.startsWith('segments/')) {
        expect((await verify({ quick: true })).errors.length, `${key} deleted`).toBeGreaterThan(0);
        expect(await restoreAll()).toBeGreaterThan(0);
      }
      await world.store.put(key, bytes);
    }
    expect((await verify()).errors).toEqual([]);
  });

  it('names the segment, the snapshots and the files that the damage hits', async () => {
    const [data] = segmentsOf(first) as [string];
    const holder = await segmentOf('a');
    await world.store.delete(segmentKey(holder));
    const { errors } = await verify();
    expect(errors.find(({ segment }) => segment === holder)?.message).toContain(first.id);
    expect(errors.filter(({ paths }) => paths?.includes('./a')).map(({ snapshot }) => snapshot)).toEqual([
      first.id,
      second.id,
    ]);
    expect(errors.some(({ paths }) => paths?.includes('./c'))).toBe(false);
    expect(data).toBeDefined();
  });

  it('an index that names a known frame at another place', async () => {
    // The same frame is named rightly by the other snapshot.
    const repository = await world.repository();
    const manifest = await repository.manifest(nameOf(second));
    const [volume] = manifest.volumes as [Manifest['volumes'][0]];
    const [ref] = volume.index as [Manifest['volumes'][0]['index'][0]];
    const moved = { ...manifest, id: '20261121T000000Z-ffffff', volumes: [{ ...volume, index: [ref] }] };
    moved.volumes[0]?.index.splice(0, 1, [ref[0], ref[1] + 1, ref[2], ref[3], ref[4]]);
    await repository.commit(moved);
    expect((await verify()).errors.map(({ snapshot }) => snapshot)).toContain(moved.id);
  });
});

describe('verify --sample', () => {
  it('n/t: t runs read every segment exactly once, whatever t', async () => {
    for (let i = 0; i < 12; i++) {
      world.time += HOUR;
      await world.backup({ [`f${i}`]: [100 + i, 20_000] });
    }
    const all = (await verify()).segments;
    for (const of of [1, 2, 3, 7, 50]) {
      let sum = 0;
      for (let part = 1; part <= of; part++) sum += (await verify({ sample: { part, of } })).segments;
      expect(sum, `t = ${of}`).toBe(all);
    }
  });

  it('finds damage in exactly one of its t runs', async () => {
    const holder = await segmentOf('b');
    await flip(segmentKey(holder), BIG, 3);
    const found = [];
    for (let part = 1; part <= 5; part++)
      if ((await verify({ sample: { part, of: 5 } })).job.damage.segments.has(holder)) found.push(part);
    expect(found).toHaveLength(1);
  });

  it('gives each part about as much', () => {
    const parts = [0, 0, 0, 0];
    for (let i = 0; i < 4000; i++) {
      const name = noise(i, 32).toString('hex');
      for (let part = 1; part <= 4; part++)
        if (isSampled(name, { part, of: 4 })) parts[part - 1] = (parts[part - 1] as number) + 1;
    }
    expect(parts.reduce((a, b) => a + b)).toBe(4000);
    for (const count of parts) expect(count).toBeGreaterThan(800);
  });
});

describe('verify --repair', () => {
  let copy: MemoryStore;

  beforeEach(async () => {
    copy = new MemoryStore();
    await copyAll();
  });

  async function copyAll(only?: Manifest): Promise<void> {
    const [from, { repository: to }] = [
      await world.repository(),
      await Repository.openOrInit(copy, new Date(world.time)),
    ];
    const job = new CopyJob({ ...world.env(), cacheDirectory: await tempDir() }, from, to);
    const names = only ? [nameOf(only)] : await from.snapshotNames();
    for (const name of names) await job.run(name, await to.snapshotNames());
    await job.close();
  }

  async function repairNow(): Promise<Repaired> {
    const repository = await world.repository();
    const { job } = await verify();
    const other = await Repository.open(copy);
    return repair(world.env(), repository, other, await repository.snapshotNames(), job.damage);
  }

  async function expectHealed(): Promise<void> {
    expect((await verify()).errors).toEqual([]);
    expect(await restoreAll()).toBe(0);
    expect(await world.keys('sessions/')).toEqual([]);
  }

  it('brings each segment back: flipped, cut short or deleted', async () => {
    for (const key of await world.keys('segments/')) {
      const bytes = await world.store.get(key);
      for (const how of ['flip', 'cut', 'delete']) {
        if (how === 'flip') await flip(key, bytes.length >> 1, 2);
        else if (how === 'cut') await world.store.put(key, bytes.subarray(0, bytes.length >> 1));
        else await world.store.delete(key);
        const { repaired, lost } = await repairNow();
        expect(lost).toEqual([]);
        expect(repaired.length, `${key} ${how}`).toBeGreaterThan(0);
        await expectHealed();
        await world.store.put(key, bytes);
        // From here on with snapshots that need the repaired segments.
        if ((await segmentsInUse()).has(key)) throw new Error('the damaged segment is still in use');
        await resetTo(bytesBefore);
      }
    }
  });

  let bytesBefore: Map<string, Buffer>;
  beforeEach(async () => {
    bytesBefore = new Map();
    for (const key of await world.keys('')) bytesBefore.set(key, await world.store.get(key));
  });

  async function resetTo(objects: Map<string, Buffer>): Promise<void> {
    for (const key of await world.keys('')) if (!objects.has(key)) await world.store.delete(key);
    for (const [key, bytes] of objects) await world.store.put(key, bytes);
  }

  async function segmentsInUse(): Promise<Set<string>> {
    const repository = await world.repository();
    const used = new Set<string>();
    for (const name of await repository.snapshotNames())
      for (const segment of segmentsOf(await repository.manifest(name))) used.add(segmentKey(segment));
    return used;
  }

  it('brings a manifest back', async () => {
    const key = manifestKey(SOURCE, second.id);
    await flip(key, 40, 1);
    expect(await repairNow()).toMatchObject({ repaired: [second.id], lost: [] });
    await expectHealed();
    const after = await (await world.repository()).manifest(nameOf(second));
    expect(after.volumes[0]?.digest).toBe(second.volumes[0]?.digest);
  });

  it('finds frames also where the copy has other snapshots only', async () => {
    copy = new MemoryStore();
    await copyAll(first);
    await world.store.delete(segmentKey(await segmentOf('a')));
    const { repaired, lost } = await repairNow();
    // The first snapshot's index lay beside; the second one's did not.
    expect([...repaired, ...lost.map(({ snapshot }) => snapshot)].sort()).toEqual(
      [first.id, second.id].sort(),
    );
    expect(repaired).toContain(first.id);
    expect(repaired).toContain(second.id);
    await expectHealed();
  });

  it('stores no more than what was lost', async () => {
    const holder = await segmentOf('c');
    await world.store.delete(segmentKey(holder));
    const { storedBytes } = await repairNow();
    expect(storedBytes).toBeLessThan(1.5 * BIG);
    await expectHealed();
  });

  it('says what is lost where the copy does not have it, and leaves that snapshot as it is', async () => {
    copy = new MemoryStore();
    await copyAll(first);
    await world.store.delete(segmentKey(await segmentOf('c')));
    const before = await world.store.get(manifestKey(SOURCE, second.id));
    const { repaired, lost } = await repairNow();
    expect(repaired).toEqual([]);
    expect(lost).toMatchObject([{ snapshot: second.id }]);
    expect((await world.store.get(manifestKey(SOURCE, second.id))).equals(before)).toBe(true);
    expect(await restoreAll()).toBe(1);
  });

  it('takes nothing damaged from a damaged copy', async () => {
    await world.store.delete(segmentKey(await segmentOf('c')));
    for await (const { key, size } of copy.list('segments/')) {
      const bytes = await copy.get(key);
      for (let at = 100; at < size; at += 1000) bytes[at] = (bytes[at] as number) ^ 1;
      await copy.put(key, bytes);
    }
    expect((await repairNow()).repaired).toEqual([]);
    expect(await restoreAll()).toBe(1);
  });

  it('leaves the damaged segments to a prune', async () => {
    await flip(segmentKey(await segmentOf('c')), BIG >> 1, 2);
    const before = (await world.keys('segments/')).length;
    await repairNow();
    world.time += 50 * HOUR;
    await new PrunerMachine(world).prune();
    expect((await world.keys('segments/')).length).toBeLessThanOrEqual(before);
    await expectHealed();
  });
});

const segmentsOf = ({ volumes }: Manifest) => volumes.flatMap((volume) => volume.segments);

/** Name of the segment that holds a file's frame: the largest of the snapshot that brought it. */
async function segmentOf(file: 'a' | 'b' | 'c'): Promise<string> {
  const owner = file === 'c' ? second : first;
  const own = segmentsOf(owner).filter((name) => file !== 'c' || !segmentsOf(first).includes(name));
  const sizes = await Promise.all(own.map(async (name) => (await world.store.stat(segmentKey(name))).size));
  return own[sizes.indexOf(Math.max(...sizes))] as string;
}
