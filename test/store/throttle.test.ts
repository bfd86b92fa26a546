import { describe, expect, it } from 'vitest';
import { VolbakError } from '../../src/core/errors.ts';
import { MemoryStore } from '../../src/store/memory.ts';
import { ThrottleStore } from '../../src/store/throttle.ts';
import { StoreWrapper } from '../../src/store/wrapper.ts';

function fakeClock() {
  const clock = {
    time: 0,
    now: () => clock.time,
    wait: async (ms: number, signal?: AbortSignal) => {
      const until = clock.time + ms;
      await Promise.resolve();
      signal?.throwIfAborted();
      clock.time = Math.max(clock.time, until);
    },
  };
  return clock;
}

describe('ThrottleStore', () => {
  it.each([1, 4])('keeps the average rate up, %d at a time', async (lanes) => {
    const clock = fakeClock();
    const store = new ThrottleStore(new MemoryStore(), { upload: 1000 }, clock);
    let next = 0;
    const lane = async () => {
      while (next < 20) await store.put(`k${next++}`, Buffer.alloc(500));
    };
    await Promise.all(Array.from({ length: lanes }, lane));
    expect(clock.time).toBe(10_000);
  });

  it('keeps the average rate down, also of ranges, apart from the one up', async () => {
    const clock = fakeClock();
    const store = new ThrottleStore(new MemoryStore(), { upload: 1e9, download: 1000 }, clock);
    await store.put('key', Buffer.alloc(5000));
    const up = clock.time;
    expect(up).toBeLessThan(1);
    await store.get('key');
    await store.get('key', { range: { offset: 10, length: 1000 } });
    expect(clock.time - up).toBeCloseTo(6000, 5);
  });

  it('does not save up: a pause gives no burst later', async () => {
    const clock = fakeClock();
    const store = new ThrottleStore(new MemoryStore(), { upload: 1000 }, clock);
    await store.put('a', Buffer.alloc(1000));
    clock.time += 60_000;
    const before = clock.time;
    await store.put('b', Buffer.alloc(1000));
    await store.put('c', Buffer.alloc(1000));
    expect(clock.time - before).toBe(2000);
  });

  it('does not let a put that failed pay, so that trying it again pays once', async () => {
    const clock = fakeClock();
    const broken = new (class extends StoreWrapper {
      calls = 0;
      override async put(key: string, bytes: Uint8Array): Promise<void> {
        if (this.calls++ < 10) throw new VolbakError('STORE_UNREACHABLE', 'no', { retryable: true });
        await this.inner.put(key, bytes);
      }
    })(new MemoryStore());
    const store = new ThrottleStore(broken, { upload: 1000 }, clock);
    for (let i = 0; i < 10; i++) await expect(store.put('key', Buffer.alloc(30_000))).rejects.toThrow('no');
    await store.put('key', Buffer.alloc(1000));
    expect(clock.time).toBe(1000);
  });

  it('ends with the signal’s reason', async () => {
    const reason = new Error('stopped by the test');
    const store = new ThrottleStore(new MemoryStore(), { upload: 10 });
    const controller = new AbortController();
    const put = store.put('key', Buffer.alloc(10_000), { signal: controller.signal });
    setTimeout(() => controller.abort(reason), 5);
    await expect(put).rejects.toBe(reason);
  });

  it('passes everything on', async () => {
    const memory = new MemoryStore();
    const store = new ThrottleStore(memory, { upload: 1e9, download: 1e9 });
    await store.put('a/key', Buffer.from('content'), { ifAbsent: true });
    const again = store.put('a/key', Buffer.from('other'), { ifAbsent: true });
    await expect(again).rejects.toThrow(expect.objectContaining({ code: 'STORE_EXISTS' }));
    expect((await store.get('a/key', { range: { offset: 3, length: 4 } })).toString()).toBe('tent');
    expect((await store.stat('a/key')).size).toBe(7);
    for await (const { key } of store.list('a/')) expect(key).toBe('a/key');
    await store.delete('a/key');
    await expect(memory.stat('a/key')).rejects.toThrow();
    expect(store.label).toBe('memory');
  });
});
