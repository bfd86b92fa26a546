import { describe, expect, it } from 'vitest';
import { VolbakError } from '../../src/core/errors.ts';
import { FaultStore } from '../../src/store/fault.ts';
import { MemoryStore } from '../../src/store/memory.ts';
import { RetryStore } from '../../src/store/retry.ts';
import type { PutOptions, StoredObject } from '../../src/store/store.ts';
import { StoreWrapper } from '../../src/store/wrapper.ts';

const passing = () => new VolbakError('STORE_UNREACHABLE', 'no answer', { retryable: true });

/** Calls fail as a script says: one entry a call, `undefined` for a call that goes through. */
class Scripted extends StoreWrapper {
  calls = 0;
  readonly script: (unknown | undefined)[];
  /** Failures come after the deed. */
  readonly late: boolean;

  constructor(inner: MemoryStore, script: unknown[], late = false) {
    super(inner);
    this.script = script;
    this.late = late;
  }

  override async put(key: string, bytes: Uint8Array, options?: PutOptions): Promise<void> {
    const failure = this.script[this.calls++];
    if (failure && !this.late) throw failure;
    await this.inner.put(key, bytes, options);
    if (failure) throw failure;
  }

  override async stat(key: string): Promise<StoredObject> {
    const failure = this.script[this.calls++];
    if (failure) throw failure;
    return this.inner.stat(key);
  }
}

/** A clock that only waiting moves. */
function fakeTime() {
  let time = 1000;
  const waits: number[] = [];
  return {
    waits,
    now: () => time,
    pass: (ms: number) => {
      time += ms;
    },
    wait: async (ms: number, signal?: AbortSignal) => {
      signal?.throwIfAborted();
      waits.push(ms);
      time += ms;
    },
  };
}

function retrying(inner: StoreWrapper | MemoryStore, limitMs = 60_000, random = 1) {
  const time = fakeTime();
  const told: string[] = [];
  const store = new RetryStore(inner, {
    limitMs,
    onRetry: (message, ms) => told.push(`${message} ${ms}`),
    random: () => random,
    now: time.now,
    wait: time.wait,
  });
  return { store, time, told };
}

describe('RetryStore', () => {
  it('waits longer each time, at most half a minute, and tells of each wait', async () => {
    const memory = new MemoryStore();
    const inner = new Scripted(memory, [...Array(9).fill(passing()), undefined]);
    const { store, time, told } = retrying(inner, 600_000);
    await store.put('key', Buffer.from('x'));
    expect(time.waits).toEqual([500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]);
    expect(told[0]).toBe('no answer 500');
    expect(told).toHaveLength(9);
    expect((await memory.get('key')).toString()).toBe('x');
  });

  it('spreads waits between half and all of the time', async () => {
    for (const [random, first] of [
      [0, 250],
      [0.5, 375],
    ] as const) {
      const { store, time } = retrying(new Scripted(new MemoryStore(), [passing()]), 60_000, random);
      await store.put('key', Buffer.from('x'));
      expect(time.waits).toEqual([first]);
    }
  });

  it('gives up at the limit with the same code, says how often it tried, and what to do', async () => {
    const { store, time } = retrying(new Scripted(new MemoryStore(), Array(100).fill(passing())), 10_000);
    const error = await store.put('key', Buffer.from('x')).catch((e) => e);
    expect(error).toMatchObject({ code: 'STORE_UNREACHABLE', retryable: false });
    expect(error.message).toMatch(/^no answer; given up after 6 tries$/);
    expect(error.hint).toMatch(/not lost/);
    expect(time.waits.reduce((a, b) => a + b, 0)).toBe(10_000);
  });

  it('counts from the first failure: a call that was slow until then is tried again all the same', async () => {
    const memory = new MemoryStore();
    const { store, time } = retrying(
      new (class extends StoreWrapper {
        calls = 0;
        override async put(key: string, bytes: Uint8Array): Promise<void> {
          time.pass(300_000);
          if (this.calls++ === 0) throw passing();
          await this.inner.put(key, bytes);
        }
      })(memory),
      10_000,
    );
    await store.put('key', Buffer.from('x'));
    expect((await memory.get('key')).toString()).toBe('x');
  });

  it.each(['STORE_DENIED', 'STORE_FULL', 'STORE_NOT_FOUND', 'INTEGRITY'] as const)(
    'does not try again after %s',
    async (code) => {
      const inner = new Scripted(new MemoryStore(), [new VolbakError(code, 'no')]);
      const { store, time } = retrying(inner);
      await expect(store.stat('key')).rejects.toThrow(expect.objectContaining({ code }));
      expect(inner.calls).toBe(1);
      expect(time.waits).toEqual([]);
    },
  );

  it('does not try again after what is no error of ours', async () => {
    const inner = new Scripted(new MemoryStore(), [new TypeError('a bug')]);
    await expect(retrying(inner).store.stat('key')).rejects.toThrow('a bug');
    expect(inner.calls).toBe(1);
  });

  it('ends with the signal’s reason, also while it waits', async () => {
    const reason = new Error('stopped by the test');
    const controller = new AbortController();
    const inner = new Scripted(new MemoryStore(), Array(100).fill(passing()));
    const store = new RetryStore(inner, { limitMs: 60_000, onRetry: () => controller.abort(reason) });
    await expect(store.put('key', Buffer.from('x'), { signal: controller.signal })).rejects.toBe(reason);
    expect(inner.calls).toBe(1);
  });

  describe('a put that only seemed to fail', () => {
    it('is a success where the object that took the name is ours', async () => {
      const memory = new MemoryStore();
      const { store } = retrying(new Scripted(memory, [passing()], true));
      await store.put('key', Buffer.from('ours'), { ifAbsent: true });
      expect((await memory.get('key')).toString()).toBe('ours');
    });

    it('is STORE_EXISTS where another one was first', async () => {
      const memory = new MemoryStore();
      await memory.put('key', Buffer.from('theirs'));
      const { store } = retrying(new Scripted(memory, [passing()]));
      const put = store.put('key', Buffer.from('ours'), { ifAbsent: true });
      await expect(put).rejects.toThrow(expect.objectContaining({ code: 'STORE_EXISTS' }));
      expect((await memory.get('key')).toString()).toBe('theirs');
    });

    it('is STORE_EXISTS at the first try, even with the same bytes: two equal runs are two', async () => {
      const memory = new MemoryStore();
      await memory.put('key', Buffer.from('same'));
      const put = retrying(memory).store.put('key', Buffer.from('same'), { ifAbsent: true });
      await expect(put).rejects.toThrow(expect.objectContaining({ code: 'STORE_EXISTS' }));
    });
  });

  describe('a listing that broke', () => {
    it('begins anew and gives nothing twice, whatever happens in between', async () => {
      for (let seed = 0; seed < 50; seed++) {
        const memory = new MemoryStore();
        for (let i = 0; i < 20; i++) await memory.put(`k/${i}`, Buffer.from(String(i)));
        const faulty = new FaultStore(memory, { seed, rates: { list: { cut: 0.7, fail: 0.2 } } });
        const { store } = retrying(faulty, 1e9);
        const keys: string[] = [];
        for await (const { key } of store.list('k/')) keys.push(key);
        expect(keys.sort(), `seed ${seed}`).toEqual(Array.from({ length: 20 }, (_, i) => `k/${i}`).sort());
      }
    });

    it('is given up at the limit, and never ends as if it were whole', async () => {
      const memory = new MemoryStore();
      for (let i = 0; i < 20; i++) await memory.put(`k/${i}`, Buffer.from('x'));
      const faulty = new FaultStore(memory, { seed: 1, rates: { list: { cut: 1 } } });
      const keys: string[] = [];
      const listing = async () => {
        for await (const { key } of retrying(faulty, 5000).store.list('k/')) keys.push(key);
      };
      await expect(listing()).rejects.toThrow(/given up after \d+ tries/);
      expect(keys.length).toBeLessThan(20);
      expect(new Set(keys).size).toBe(keys.length);
    });

    it('has its whole limit again after each object that came', async () => {
      const memory = new MemoryStore();
      for (let i = 0; i < 10; i++) await memory.put(`k/${i}`, Buffer.from('x'));
      let time = 0;
      let next = 1;
      const inner = new (class extends StoreWrapper {
        override async *list(prefix: string): AsyncIterable<StoredObject> {
          let given = 0;
          for await (const object of this.inner.list(prefix)) {
            if (given++ === next) {
              next++;
              throw passing();
            }
            yield object;
          }
        }
      })(memory);
      const store = new RetryStore(inner, {
        limitMs: 900,
        random: () => 1,
        now: () => time,
        wait: async (ms) => {
          time += ms;
        },
      });
      const keys: string[] = [];
      for await (const { key } of store.list('k/')) keys.push(key);
      expect(keys).toHaveLength(10);
      expect(time).toBeGreaterThan(4000);
    });
  });
});
