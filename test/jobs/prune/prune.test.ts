import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { condemnedKey, manifestKey, segmentKey } from '../../../src/repository/keys.ts';
import type { Manifest } from '../../../src/repository/manifest.ts';
import { Session } from '../../../src/repository/session.ts';
import { DAY, HOUR, MINUTE, nameOf, PrunerMachine, SOURCE, World } from '../../support/world.ts';

vi.mock('../../../src/codec/pool.ts', () => import('../../support/inline-pool.ts'));

const code = (wanted: string) => expect.objectContaining({ code: wanted });
const BIG = 100_000;

let world: World;
let machine: PrunerMachine;

beforeEach(async () => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'setTimeout', 'clearTimeout'] });
  world = await World.make();
  machine = new PrunerMachine(world);
});

afterEach(() => {
  vi.useRealTimers();
});

const segments = () => world.keys('segments/');
const segmentsOf = ({ volumes }: Manifest) => volumes.flatMap((volume) => volume.segments);
const begin = (uses: Parameters<typeof nameOf>[0][] = []) =>
  Session.begin({ store: world.store, kind: 'backup', uses: uses.map(nameOf), now: () => world.time });

/** Two snapshots that share nothing; the older one is forgotten. */
async function forgotten() {
  const first = await world.backup({ a: [1, BIG] });
  world.time += HOUR;
  const second = await world.backup({ b: [2, BIG] });
  world.time += 2 * DAY;
  await world.forget({ last: 1 });
  return { first, second };
}

describe('prune', () => {
  it('deletes what was forgotten after its grace, not before, and says until when it waits', async () => {
    const { first, second } = await forgotten();
    const all = await segments();
    const until = new Date(world.time + DAY).toISOString();
    const early = await machine.prune();
    expect(early.deleted).toMatchObject({ segments: 0, snapshots: [] });
    expect(early.pending).toMatchObject([{ reason: 'grace', from: until, until }]);
    expect(await segments()).toEqual(all);
    world.time += DAY + 1;
    const late = await machine.prune();
    expect(late.deleted.snapshots).toEqual([first.id]);
    expect(late.deleted.segments).toBe(first.volumes[0]?.segments.length);
    expect(late.pending).toEqual([]);
    const left = second.volumes[0]?.segments.map(segmentKey).sort();
    expect(await segments()).toEqual(left);
    for (const prefix of ['condemned/', 'doomed/', 'sessions/']) expect(await world.keys(prefix)).toEqual([]);
    await world.expectWhole();
  });

  it('without a grace deletes at once, also what is a moment old', async () => {
    await world.backup({ a: [1, BIG] });
    world.time += 1000;
    const second = await world.backup({ b: [2, BIG] });
    await world.forget({ last: 1 });
    const report = await machine.prune({ graceMs: 0 });
    expect(report).toMatchObject({ pending: [], sessions: [] });
    expect(await segments()).toEqual(segmentsOf(second).map(segmentKey).sort());
  });

  it('with --dry-run says the same and changes nothing', async () => {
    await forgotten();
    world.time += DAY + 1;
    const before = await world.keys('');
    const dry = await machine.prune({ dryRun: true });
    expect(await world.keys('')).toEqual(before);
    const real = await machine.prune();
    expect(dry.deleted).toEqual(real.deleted);
    expect(real.deleted.segments).toBeGreaterThan(0);
  });

  it('keeps what another snapshot shares', async () => {
    const first = await world.backup({ a: [1, BIG], b: [2, BIG] });
    world.time += HOUR;
    await world.backup({ a: [1, BIG], c: [3, BIG] }, { parent: first });
    world.time += 2 * DAY;
    await world.forget({ last: 1 });
    world.time += 2 * DAY;
    await machine.prune({ rewrite: false });
    await world.expectWhole();
    expect((await world.keys('snapshots/')).length).toBe(1);
  });

  it('deletes what an interrupted backup left, after the grace', async () => {
    await world.backup({ a: [1, BIG] });
    const stopped = world.backup({ z: [9, BIG] }, { pace: async () => Promise.reject(new Error('killed')) });
    await expect(stopped).rejects.toThrow('killed');
    await world.store.put(segmentKey('f'.repeat(64)), Buffer.from('x'));
    expect((await machine.prune()).deleted.segments).toBe(0);
    world.time += DAY + 1;
    expect((await machine.prune()).deleted.segments).toBe(1);
    await world.expectWhole();
  });

  it('keeps what a live session uses, at any age, and what is younger than it', async () => {
    const { first } = await forgotten();
    // It began before its parent was condemned.
    await world.store.put(manifestKey(SOURCE, first.id), await condemnedBytes(first));
    const session = await begin([first]);
    await world.store.delete(manifestKey(SOURCE, first.id));
    await world.store.put(segmentKey('f'.repeat(64)), Buffer.from('x'));
    const all = await segments();
    for (let day = 0; day < 5; day++) {
      await world.pass(DAY);
      const report = await machine.prune();
      expect(report.deleted).toMatchObject({ segments: 0, snapshots: [] });
      expect(report.pending).toMatchObject([{ reason: 'session' }]);
      expect(report.sessions).toMatchObject([{ id: session.id, kind: 'backup' }]);
    }
    expect(await segments()).toEqual(all);
    await session.end();
    expect((await machine.prune()).deleted.segments).toBeGreaterThan(1);
    await world.expectWhole();
  });

  it('takes a session for dead only if stale by the store AND unchanged for ten minutes of its own', async () => {
    await forgotten();
    const session = await begin();
    world.time += 3 * DAY;
    // Stale for days, but seen for the first time.
    const first = await machine.prune();
    expect(first.sessions).toMatchObject([{ id: session.id, deadIn: 10 * MINUTE }]);
    world.time += 9 * MINUTE;
    expect((await machine.prune()).sessions).toMatchObject([{ deadIn: MINUTE }]);
    // The machine slept: its monotonic clock did not go on.
    world.time += 2 * HOUR;
    machine.slept = 2 * HOUR;
    expect((await machine.prune()).sessions).toMatchObject([{ deadIn: MINUTE }]);
    world.time += MINUTE;
    const last = await machine.prune();
    expect(last.deleted.sessions).toEqual([session.id]);
    expect(await world.keys('sessions/')).toEqual([]);
    await expect(session.check()).rejects.toThrow(code('REPOSITORY_BUSY'));
    await session.end();
  });

  it('counts the watching anew with each heartbeat', async () => {
    await forgotten();
    const session = await begin();
    world.time += 3 * DAY;
    await machine.prune();
    world.time += 11 * MINUTE;
    const beat = await world.store.get(`sessions/${session.id}/000000.json`);
    await world.store.put(`sessions/${session.id}/000001.json`, beat);
    world.time += HOUR;
    expect((await machine.prune()).sessions).toMatchObject([{ id: session.id, deadIn: 10 * MINUTE }]);
    await session.end();
  });

  it('knows after a restart of its machine that at least the time since then went by', async () => {
    await forgotten();
    const session = await begin();
    world.time += 3 * DAY;
    await machine.prune();
    machine.boot = 'second';
    machine.slept = world.time;
    world.time += 11 * MINUTE;
    expect((await machine.prune()).deleted.sessions).toEqual([session.id]);
    await session.end();
  });

  it('with --wait watches for as long as it takes', async () => {
    await forgotten();
    const session = await begin();
    world.time += 3 * DAY;
    vi.spyOn(globalThis, 'setTimeout').mockImplementation(((done: () => void, ms: number) => {
      world.time += ms;
      queueMicrotask(done);
      return {} as NodeJS.Timeout;
    }) as never);
    expect((await machine.prune({ wait: true })).deleted.sessions).toEqual([session.id]);
    vi.restoreAllMocks();
    await session.end();
  });
});

async function condemnedBytes(manifest: { id: string }): Promise<Buffer> {
  const [key] = (await world.keys('condemned/')).filter((k) => k.includes(manifest.id));
  return world.store.get(key as string);
}

describe('prune stops, with nothing deleted', () => {
  let before: string[];
  beforeEach(async () => {
    await forgotten();
    await machine.prune();
    world.time += DAY + 1;
  });

  async function expectStopped(wanted: string, options = {}): Promise<void> {
    before = await world.keys('');
    await expect(machine.prune(options)).rejects.toThrow(code(wanted));
    expect(await world.keys('')).toEqual(before);
  }

  it('where a manifest cannot be read: of a snapshot, or condemned', async () => {
    for (const prefix of ['snapshots/', 'condemned/']) {
      const [key] = (await world.keys(prefix)) as [string];
      const good = await world.store.get(key);
      await world.store.put(key, good.subarray(0, good.length - 5));
      await expectStopped('INTEGRITY');
      await world.store.put(key, good);
    }
  });

  it('where a manifest belongs to another snapshot', async () => {
    const [key] = (await world.keys('snapshots/')) as [string];
    const wrong = condemnedKey(SOURCE, '20200101T000000Z-000000', '00000000');
    await world.store.put(wrong, await world.store.get(key));
    await expectStopped('INTEGRITY');
  });

  it('where something lies among the manifests, sessions or notes that it does not know', async () => {
    for (const key of ['snapshots/h/volume/v/new-kind.json', 'condemned/x', 'sessions/x', 'doomed/x.json']) {
      await world.store.put(key, Buffer.from('?'));
      await expectStopped('INTEGRITY');
      await world.store.delete(key);
    }
  });

  it('where a session cannot be read', async () => {
    await world.store.put('sessions/0123456789abcdef/000000.json', Buffer.from('{'));
    await expectStopped('INTEGRITY');
  });

  it('where a snapshot that stood last time stands in neither place, until that is accepted', async () => {
    await world.backup({ c: [3, BIG] });
    const [key] = (await world.keys('condemned/')) as [string];
    await world.store.delete(key);
    await expectStopped('INTEGRITY');
    await expectStopped('INTEGRITY');
    await machine.prune({ acceptMissing: true });
    await machine.prune();
    await world.expectWhole();
  });

  it('but not where another machine pruned it', async () => {
    const other = new PrunerMachine(world);
    expect((await other.prune()).deleted.snapshots).toHaveLength(1);
    await machine.prune();
  });

  it('where no snapshot is listed, but segments are', async () => {
    const [key] = (await world.keys('snapshots/')) as [string];
    await world.store.delete(key);
    await expectStopped('INTEGRITY', { acceptMissing: true });
    await expect(new PrunerMachine(world).prune()).rejects.toThrow(code('INTEGRITY'));
  });

  it('where a listing breaks off', async () => {
    for (const prefix of ['sessions/', 'snapshots/', 'condemned/', 'segments/']) {
      const list = world.store.list.bind(world.store);
      const spy = vi.spyOn(world.store, 'list').mockImplementation(async function* (asked, options) {
        if (asked === prefix) throw new Error('broken off');
        yield* list(asked, options);
      });
      const all = await world.keys('', { ...world.store, list } as never);
      await expect(machine.prune(), prefix).rejects.toThrow('broken off');
      spy.mockRestore();
      expect(await world.keys('')).toEqual(all);
    }
  });

  it('where the clock of the store jumped since the last run, once; then nothing counts as older', async () => {
    for (const jump of [3 * DAY, -3 * DAY]) {
      world.storeSkew += jump;
      await expectStopped('REPOSITORY_BUSY');
      const report = await machine.prune();
      expect(report.deleted.segments).toBe(0);
      expect(report.pending[0]?.reason).toBe('grace');
    }
    world.time += DAY + 1;
    expect((await machine.prune()).deleted.segments).toBeGreaterThan(0);
  });

  it('where it jumps while it works: between its looks', async () => {
    const put = world.store.put.bind(world.store);
    vi.spyOn(world.store, 'put').mockImplementation(async (key, bytes, options) => {
      await put(key, bytes, options);
      if (key.startsWith('doomed/')) world.storeSkew += 3 * DAY;
    });
    await expectStopped('REPOSITORY_BUSY');
    vi.restoreAllMocks();
  });

  it('where --verify finds damage', async () => {
    for (const one of await segments()) {
      const bytes = await world.store.get(one);
      bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] as number) ^ 1;
      await world.store.put(one, bytes);
    }
    await expectStopped('INTEGRITY', { verify: true });
  });

  it('where it slept so long that another one may have taken it for dead', async () => {
    const list = world.store.list.bind(world.store);
    let looks = 0;
    vi.spyOn(world.store, 'list').mockImplementation(async function* (prefix, options) {
      yield* list(prefix, options);
      // At the end of the second look: before the first delete.
      if (prefix === 'segments/' && ++looks === 2) world.time += 31 * MINUTE;
    });
    await expectStopped('REPOSITORY_BUSY');
    vi.restoreAllMocks();
  });
});

describe('prune and sources that shrank', () => {
  it('keeps what was forgotten of a source whose newest snapshot is less than half of the one before', async () => {
    await world.backup({ a: [1, BIG], b: [2, BIG] });
    world.time += HOUR;
    await world.backup({ c: [3, BIG], d: [4, BIG], e: [5, BIG] });
    world.time += HOUR;
    await world.forget({ last: 1 });
    await world.backup({ c: [3, 100] });
    world.time += 2 * DAY;
    const report = await machine.prune();
    expect(report.deleted.segments).toBe(0);
    expect(report.spared).toMatchObject([{ source: 'h/volume/v' }]);
    expect(report.pending).toMatchObject([{ reason: 'shrunk' }]);
    expect((await machine.prune({ force: true })).deleted.segments).toBeGreaterThan(0);
    await world.expectWhole();
  });
});

describe('notes of prunes that died', () => {
  const dead = 'doomed/00000000000000aa.json';
  const note = (...names: string[]) =>
    world.store.put(dead, Buffer.from(JSON.stringify({ segments: names })));

  it('are ended by a later prune: it deletes what they name, then the note', async () => {
    const { first } = await forgotten();
    const named = segmentsOf(first);
    await note(...named);
    world.time += DAY + 1;
    await machine.prune();
    expect(await world.keys('doomed/')).toEqual([]);
    for (const name of named) expect(await segments()).not.toContain(segmentKey(name));
  });

  it('stay while they name a segment that stands and may yet be used', async () => {
    const { first } = await forgotten();
    await note(...segmentsOf(first));
    await machine.prune();
    expect(await world.keys('doomed/')).toEqual([dead]);
  });

  it('go where a snapshot needs all that they name: it was spared before the note was written anew', async () => {
    const { second } = await forgotten();
    await note(...segmentsOf(second));
    await machine.prune();
    expect(await world.keys('doomed/')).toEqual([]);
  });

  it('stay while their prune lives', async () => {
    await forgotten();
    const session = await begin();
    await world.store.put(`doomed/${session.id}.json`, Buffer.from('{"segments":[]}'));
    await machine.prune();
    expect(await world.keys('doomed/')).toHaveLength(1);
    await session.end();
    await machine.prune();
    expect(await world.keys('doomed/')).toEqual([]);
  });
});

describe('rewriting', () => {
  /** A segment of four files of which one is needed, by two snapshots. */
  async function sparse() {
    const first = await world.backup({ a: [1, BIG], b: [2, BIG], c: [3, BIG], d: [4, BIG] });
    world.time += HOUR;
    const second = await world.backup({ a: [1, BIG], e: [5, BIG], f: [6, BIG] }, { parent: first });
    world.time += HOUR;
    const third = await world.backup({ a: [1, BIG], e: [5, BIG], g: [7, BIG] }, { parent: second });
    world.time += 2 * DAY;
    await world.forget({ last: 2 });
    return { first, second, third };
  }

  it('stores live frames of mostly dead segments anew; after the grace those are gone and all is whole', async () => {
    const { first, second, third } = await sparse();
    const old = first.volumes[0]?.segments[0] as string;
    const report = await machine.prune();
    expect(report.rewritten).toMatchObject({ segments: 1, snapshots: 2 });
    expect(report.rewritten.storedBytes).toBeGreaterThan(BIG);
    expect(report.rewritten.storedBytes).toBeLessThan(1.5 * BIG);
    expect(report.deleted.segments).toBe(0);
    expect(await segments()).toContain(segmentKey(old));
    await world.expectWhole();
    const repository = await world.repository();
    for (const before of [second, third]) {
      const after = await repository.manifest(nameOf(before));
      expect(after.volumes[0]?.segments).not.toContain(old);
      const keep = ({ volumes: [v], ...rest }: typeof after) => ({
        ...rest,
        v: { ...v, index: 0, segments: 0 },
      });
      expect(keep(after)).toEqual(keep(before));
    }
    world.time += DAY + 1;
    expect((await machine.prune()).rewritten.segments).toBe(0);
    expect(await segments()).not.toContain(segmentKey(old));
    expect(await world.keys('condemned/')).toEqual([]);
    await world.expectWhole();
  });

  it('is left out where that is asked for, and only told by --dry-run', async () => {
    await sparse();
    const before = await world.keys('');
    expect((await machine.prune({ rewrite: false })).rewritten.segments).toBe(0);
    expect((await machine.prune({ dryRun: true })).rewritten.segments).toBe(1);
    expect(await world.keys('')).toEqual(before);
  });

  it('keeps a copy of the old manifest: who reads by it goes on', async () => {
    const { second } = await sparse();
    const reader = await begin([second]);
    await machine.prune();
    for (let day = 0; day < 3; day++) {
      await world.pass(DAY);
      await machine.prune();
    }
    const standing = await segments();
    for (const name of segmentsOf(second)) expect(standing).toContain(segmentKey(name));
    await reader.end();
    await machine.prune();
    expect((await segments()).length).toBeLessThan(standing.length);
    await world.expectWhole();
  });

  it('does nothing to a snapshot that another one rewrote or forgot meanwhile', async () => {
    await sparse();
    const put = world.store.put.bind(world.store);
    let once = true;
    vi.spyOn(world.store, 'put').mockImplementation(async (key, bytes, options) => {
      if (key.startsWith('segments/') && once) {
        once = false;
        await new PrunerMachine(world).prune();
      }
      await put(key, bytes, options);
    });
    const report = await machine.prune();
    expect(report.rewritten.snapshots).toBe(0);
    vi.restoreAllMocks();
    await world.expectWhole();
    world.time += DAY + 1;
    await machine.prune();
    await world.expectWhole();
  });

  it('brings the old manifest back where the new one turns out to name what is gone', async () => {
    await sparse();
    const put = world.store.put.bind(world.store);
    const first = new Map<string, Buffer>();
    for (const key of await world.keys('snapshots/')) first.set(key, await world.store.get(key));
    vi.spyOn(world.store, 'put').mockImplementation(async (key, bytes, options) => {
      await put(key, bytes, options);
      if (key.startsWith('snapshots/') && !first.get(key)?.equals(bytes)) world.time += 31 * MINUTE;
    });
    await expect(machine.prune()).rejects.toThrow(code('REPOSITORY_BUSY'));
    vi.restoreAllMocks();
    for (const [key, bytes] of first) expect((await world.store.get(key)).equals(bytes)).toBe(true);
    await world.expectWhole();
  });
});
