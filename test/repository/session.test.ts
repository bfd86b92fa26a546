import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { manifestKey, type SnapshotName, segmentKey } from '../../src/repository/keys.ts';
import {
  presentSegments,
  Session,
  type SessionOptions,
  usableSegments,
} from '../../src/repository/session.ts';
import { MemoryStore } from '../../src/store/memory.ts';

const MINUTE = 60_000;
const code = (wanted: string) => expect.objectContaining({ code: wanted });
const [A, B, C] = ['a', 'b', 'c'].map((c) => c.repeat(64)) as [string, string, string];
const used: SnapshotName = {
  id: '20261120T203000Z-4f9c2a',
  source: { host: 'h', kind: 'volume', name: 'v' },
};

let store: MemoryStore;

async function keys(prefix = 'sessions/'): Promise<string[]> {
  const all: string[] = [];
  for await (const { key } of store.list(prefix)) all.push(key);
  return all;
}

function begin(more: Partial<SessionOptions> = {}): Promise<Session> {
  return Session.begin({ store, kind: 'backup', uses: [], now: () => Date.now(), ...more });
}

beforeEach(async () => {
  vi.useFakeTimers();
  store = new MemoryStore();
  await store.put(manifestKey(used.source, used.id), Buffer.from('x'));
  for (const name of [A, B]) await store.put(segmentKey(name), Buffer.from('x'));
});

afterEach(() => {
  vi.useRealTimers();
});

describe('Session', () => {
  it('is visible while it runs, with what it uses, and gone at its end', async () => {
    const session = await begin({ uses: [used] });
    const [key] = (await keys()) as [string];
    expect(key).toMatch(new RegExp(`^sessions/${session.id}/`));
    const body = JSON.parse((await store.get(key)).toString());
    expect(body).toMatchObject({ id: session.id, kind: 'backup', uses: [used.id] });
    await session.end();
    expect(await keys()).toEqual([]);
  });

  it('puts a new key every five minutes and removes all of them', async () => {
    const session = await begin();
    await vi.advanceTimersByTimeAsync(26 * MINUTE);
    expect(await keys()).toHaveLength(6);
    await session.check();
    await session.end();
    expect(await keys()).toEqual([]);
    await vi.advanceTimersByTimeAsync(60 * MINUTE);
    expect(await keys()).toEqual([]);
  });

  it('gives up after 31 minutes without a heartbeat, as after a sleep', async () => {
    let now = 0;
    const session = await begin({ now: () => now });
    now += 29 * MINUTE;
    await session.check();
    now += 2 * MINUTE;
    await expect(session.check()).rejects.toThrow(code('REPOSITORY_BUSY'));
    await session.end();
  });

  it('stays lost after a sleep: a heartbeat that comes too late brings nothing back', async () => {
    const session = await begin();
    vi.setSystemTime(Date.now() + 31 * MINUTE);
    await vi.advanceTimersByTimeAsync(11 * MINUTE);
    expect(await keys()).toHaveLength(1);
    await expect(session.check()).rejects.toThrow(code('REPOSITORY_BUSY'));
    await session.end();
    expect(await keys()).toEqual([]);
  });

  it('gives up where its first objects are gone, though a later heartbeat stands', async () => {
    const session = await begin();
    for (const key of await keys()) await store.delete(key);
    await vi.advanceTimersByTimeAsync(6 * MINUTE);
    expect(await keys()).toHaveLength(1);
    await expect(session.check()).rejects.toThrow(code('REPOSITORY_BUSY'));
    await session.end();
  });

  it('never puts two heartbeats under one key, also where one takes long', async () => {
    const session = await begin();
    const put = store.put.bind(store);
    const asked: string[] = [];
    vi.spyOn(store, 'put').mockImplementation(async (key, bytes) => {
      asked.push(key);
      await new Promise((resolve) => setTimeout(resolve, 12 * MINUTE));
      await put(key, bytes);
    });
    await vi.advanceTimersByTimeAsync(25 * MINUTE);
    expect(asked.length).toBeGreaterThan(3);
    expect(new Set(asked).size).toBe(asked.length);
    vi.restoreAllMocks();
    await session.end();
  });

  it('lives through heartbeats that fail, for half an hour', async () => {
    const session = await begin();
    const put = vi.spyOn(store, 'put').mockRejectedValue(new Error('network'));
    await vi.advanceTimersByTimeAsync(20 * MINUTE);
    await session.check();
    await vi.advanceTimersByTimeAsync(11 * MINUTE);
    await expect(session.check()).rejects.toThrow(code('REPOSITORY_BUSY'));
    put.mockRestore();
    await session.end();
  });

  it('gives up where its objects are gone', async () => {
    const session = await begin();
    for (const key of await keys()) await store.delete(key);
    await expect(session.check()).rejects.toThrow(code('REPOSITORY_BUSY'));
    await session.end();
  });

  it('does not begin on a snapshot that is gone, and leaves nothing', async () => {
    const gone = { ...used, id: '20261120T203000Z-000000' };
    await expect(begin({ uses: [used, gone] })).rejects.toThrow(/20261120T203000Z-000000/);
    expect(await keys()).toEqual([]);
  });

  it('ends also where the store forbids deletes', async () => {
    const session = await begin();
    vi.spyOn(store, 'delete').mockRejectedValue(new Error('denied'));
    await session.end();
  });
});

describe('Session.checkSegments', () => {
  it('passes where all stand', async () => {
    const session = await begin();
    await session.checkSegments(new Set([A, B]));
    await session.checkSegments(new Set());
    await session.end();
  });

  it('raises for one that is missing', async () => {
    const session = await begin();
    await expect(session.checkSegments(new Set([A, C]))).rejects.toThrow(code('REPOSITORY_BUSY'));
    await session.end();
  });

  it('raises for one that is about to be deleted, and only for it', async () => {
    const session = await begin();
    await store.put('doomed/x.json', Buffer.from(JSON.stringify({ segments: [B] })));
    await session.checkSegments(new Set([A]));
    await expect(session.checkSegments(new Set([A, B]))).rejects.toThrow(code('REPOSITORY_BUSY'));
    await session.end();
  });

  it('takes a doomed list for done that goes while it is read', async () => {
    const session = await begin();
    await store.put('doomed/x.json', Buffer.from(JSON.stringify({ segments: [C] })));
    const get = store.get.bind(store);
    vi.spyOn(store, 'get').mockImplementation(async (key, options) => {
      if (key.startsWith('doomed/')) await store.delete(key);
      return get(key, options);
    });
    await session.checkSegments(new Set([A]));
    await session.end();
  });

  it('never passes over a doomed list that cannot be read', async () => {
    const session = await begin();
    for (const text of ['', 'null', '{}', '{"segments":5}']) {
      await store.put('doomed/x.json', Buffer.from(text));
      await expect(session.checkSegments(new Set([A])), text).rejects.toThrow(code('INTEGRITY'));
    }
    await session.end();
  });

  it('raises where the session slept', async () => {
    let now = 0;
    const session = await begin({ now: () => now });
    now += 31 * MINUTE;
    await expect(session.checkSegments(new Set())).rejects.toThrow(code('REPOSITORY_BUSY'));
    await session.end();
  });
});

describe('usableSegments', () => {
  it('leaves out what a prune is about to delete', async () => {
    await store.put('doomed/x.json', Buffer.from(JSON.stringify({ segments: [B, C] })));
    expect(await usableSegments(store)).toEqual(new Set([A]));
  });
});

describe('presentSegments', () => {
  it('names the segments and nothing else', async () => {
    await store.put('segments/aa/readme.txt', Buffer.from('x'));
    expect(await presentSegments(store)).toEqual(new Set([A, B]));
  });
});
