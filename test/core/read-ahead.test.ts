import { describe, expect, it } from 'vitest';
import { readAhead } from '../../src/core/read-ahead.ts';

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

async function* numbers(count: number, onEnd = () => {}): AsyncGenerator<number> {
  try {
    for (let i = 0; i < count; i++) yield i;
  } finally {
    onEnd();
  }
}

async function collect<T>(source: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of source) all.push(item);
  return all;
}

describe('readAhead', () => {
  it.each([1, 2, 5, 100])('keeps the order with %i calls ahead', async (ahead) => {
    const mapped = readAhead(numbers(20), ahead, async (n) => {
      await sleep((n * 7) % 5);
      return n * 2;
    });
    expect(await collect(mapped)).toEqual(Array.from({ length: 20 }, (_, i) => i * 2));
  });

  it('has as many calls under way as it may, and never more', async () => {
    let running = 0;
    let most = 0;
    const mapped = readAhead(numbers(30), 4, async (n) => {
      most = Math.max(most, ++running);
      await sleep(1);
      running--;
      return n;
    });
    await collect(mapped);
    expect(most).toBe(4);
  });

  it('raises an error in its turn, after what came before it', async () => {
    const seen: number[] = [];
    const run = async () => {
      for await (const n of readAhead(numbers(10), 5, async (n) => {
        if (n === 3) throw new Error('three');
        return n;
      })) {
        seen.push(n);
      }
    };
    await expect(run()).rejects.toThrow('three');
    expect(seen).toEqual([0, 1, 2]);
  });

  it('ends its source and waits for what is under way when its reader stops', async () => {
    let ended = false;
    let running = 0;
    const mapped = readAhead(
      numbers(100, () => (ended = true)),
      3,
      async (n) => {
        running++;
        await sleep(5);
        running--;
        return n;
      },
    );
    for await (const n of mapped) if (n === 1) break;
    expect([ended, running]).toEqual([true, 0]);
  });

  it('raises what its source raises, and gives an empty result for an empty source', async () => {
    const failing = (async function* () {
      yield 1;
      throw new Error('source');
    })();
    await expect(collect(readAhead(failing, 3, async (n) => n))).rejects.toThrow('source');
    expect(await collect(readAhead(numbers(0), 3, async (n) => n))).toEqual([]);
  });
});
