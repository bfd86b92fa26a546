import { describe, expect, it } from 'vitest';
import { PulledAhead } from '../../src/core/pulled-ahead.ts';

/** Numbers from 1 to `count`; fails instead of giving the one of number `failing`. */
function source(count: number, failing = 0) {
  const told = { asked: 0, closed: false };
  const numbers = (async function* () {
    try {
      for (let n = 1; n <= count; n++) {
        told.asked = n;
        if (n === failing) throw new Error('damaged');
        yield n;
      }
    } finally {
      told.closed = true;
    }
  })();
  return { numbers, told };
}

const soon = () => new Promise((resolve) => setTimeout(resolve, 5));

async function all(ahead: PulledAhead<number>): Promise<number[]> {
  const got: number[] = [];
  for await (const n of ahead.items()) got.push(n);
  return got;
}

describe('PulledAhead', () => {
  it.each([0, 1, 3, 1000])(
    'asks for items up to a weight of %s before they are wanted, and gives all in order',
    async (limit) => {
      const { numbers, told } = source(20);
      const ahead = new PulledAhead(numbers, () => 1, limit);
      await soon();
      expect(told.asked).toBe(Math.min(limit, 20));
      expect(await all(ahead)).toEqual(Array.from({ length: 20 }, (_, i) => i + 1));
      await ahead.close();
    },
  );

  it('raises what the source raised when its turn comes, and knows of it before', async () => {
    const { numbers } = source(20, 3);
    const ahead = new PulledAhead(numbers, () => 1, 1000);
    await soon();
    expect(ahead.failed).toBe(true);
    await expect(all(ahead)).rejects.toThrow('damaged');
  });

  it('closed before it was wanted, or in the middle, ends the source and what that waits for', async () => {
    const { numbers, told } = source(20);
    const ahead = new PulledAhead(numbers, () => 1, 2);
    await soon();
    await ahead.close();
    expect(told).toEqual({ asked: 2, closed: true });

    const stop = new AbortController();
    const stuck = (async function* (): AsyncGenerator<number> {
      await new Promise((_, reject) =>
        stop.signal.addEventListener('abort', () => reject(new Error('stopped'))),
      );
      yield 1;
    })();
    await new PulledAhead(stuck, () => 1, 2, stop).close();
  });

  it('gives the items of a source that ended within the limit once more', async () => {
    const { numbers, told } = source(5);
    const ahead = new PulledAhead(numbers, () => 1, 6);
    const first = await all(ahead);
    await ahead.close();
    const again: number[] = [];
    for await (const n of ahead.again() ?? []) again.push(n);
    expect(again).toEqual(first);
    expect(told.asked).toBe(5);
  });

  it.each([5, 3])(
    'has nothing to give again of a source that did not end within the limit of %s',
    async (limit) => {
      const ahead = new PulledAhead(source(5).numbers, () => 1, limit);
      expect(await all(ahead)).toHaveLength(5);
      expect(ahead.again()).toBeUndefined();
    },
  );
});
