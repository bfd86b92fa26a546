import { describe, expect, it } from 'vitest';
import { type FaultOptions, FaultStore } from '../../src/store/fault.ts';
import { MemoryStore } from '../../src/store/memory.ts';

const faulty = (rates: FaultOptions['rates'], seed = 1, more: Partial<FaultOptions> = {}) => {
  const memory = new MemoryStore();
  return { memory, store: new FaultStore(memory, { seed, rates, ...more }) };
};
const injected = expect.objectContaining({ code: 'STORE_UNREACHABLE', retryable: true });

describe('FaultStore', () => {
  it('fails without doing anything, or does it and says that it failed', async () => {
    const refused = faulty({ put: { fail: 1 } });
    await expect(refused.store.put('key', Buffer.from('x'))).rejects.toThrow(injected);
    await expect(refused.memory.stat('key')).rejects.toThrow();
    const lost = faulty({ put: { lost: 1 }, delete: { lost: 1 } });
    await expect(lost.store.put('key', Buffer.from('x'))).rejects.toThrow(injected);
    expect((await lost.memory.get('key')).toString()).toBe('x');
    await expect(lost.store.delete('key')).rejects.toThrow(injected);
    await expect(lost.memory.stat('key')).rejects.toThrow();
    expect(lost.store.struck).toBe(2);
  });

  it('answers short, or with one flipped bit', async () => {
    const bytes = Buffer.alloc(1000);
    const short = faulty({ get: { short: 1 } });
    await short.store.put('key', bytes);
    expect((await short.store.get('key')).length).toBeLessThan(1000);
    const wrong = faulty({ get: { wrong: 1 } });
    await wrong.store.put('key', bytes);
    const got = await wrong.store.get('key');
    const flipped = [...got].filter((byte) => byte !== 0);
    expect(flipped).toHaveLength(1);
    expect(Math.log2(flipped[0] as number) % 1).toBe(0);
    expect((await wrong.memory.get('key')).equals(bytes)).toBe(true);
  });

  it('cuts listings with an error, never with a clean end', async () => {
    const { store } = faulty({ list: { cut: 1 } });
    for (let i = 0; i < 20; i++) await store.put(`k${i}`, Buffer.from('x'));
    const seen: string[] = [];
    const listing = async () => {
      for await (const { key } of store.list('')) seen.push(key);
    };
    await expect(listing()).rejects.toThrow(injected);
    expect(seen.length).toBeLessThan(20);
  });

  it('delays and then does it', async () => {
    const { store, memory } = faulty({ put: { delay: 1 } });
    await store.put('key', Buffer.from('x'));
    expect((await memory.stat('key')).size).toBe(1);
  });

  it('can fail for good', async () => {
    const { store } = faulty({ stat: { fail: 1 } }, 1, { retryable: false });
    await expect(store.stat('key')).rejects.toThrow(expect.objectContaining({ retryable: false }));
  });

  it('does the same for the same seed, and something else for another', async () => {
    const run = async (seed: number) => {
      const { store } = faulty({ put: { fail: 0.5 } }, seed);
      const done: boolean[] = [];
      for (let i = 0; i < 40; i++)
        done.push(
          await store.put(`k${i}`, Buffer.from('x')).then(
            () => true,
            () => false,
          ),
        );
      return done.map(Number).join('');
    };
    expect(await run(7)).toBe(await run(7));
    expect(await run(7)).not.toBe(await run(8));
    expect(await run(7)).toMatch(/0.*1|1.*0/);
  });
});
