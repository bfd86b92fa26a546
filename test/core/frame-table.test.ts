import { createHash } from 'node:crypto';
import { Worker } from 'node:worker_threads';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type FrameEntry, FrameTable } from '../../src/core/frame-table.ts';

const hashOf = (n: number) => createHash('sha256').update(String(n)).digest();

describe('FrameTable', () => {
  it('answers as a Map does, also where hashes begin alike', () => {
    // Few different first words, so that many hashes want the same slot.
    const hash = fc.tuple(fc.nat(3), fc.nat(40)).map(([first, rest]) => {
      const h = Buffer.alloc(32, rest);
      h.writeUInt32LE(first * 0x40000000, 0);
      return h;
    });
    const entry = fc.record({
      segment: fc.nat(100_000),
      offset: fc.nat(33_554_432),
      length: fc.integer({ min: 1, max: 2_200_000 }),
      raw: fc.integer({ min: 1, max: 2_097_152 }),
    });
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.boolean(), hash, entry), { maxLength: 300 }), (steps) => {
        const table = FrameTable.create(200);
        const other = FrameTable.attach(table.shared);
        const map = new Map<string, FrameEntry>();
        for (const [adds, h, e] of steps) {
          const key = h.toString('hex');
          if (adds) {
            table.add(Buffer.concat([Buffer.alloc(7), h]), 7, e);
            if (!map.has(key)) map.set(key, e);
          }
          const found = other.find(h);
          expect(found >= 0).toBe(map.has(key));
          if (found >= 0) {
            expect(other.entry(found)).toEqual(map.get(key));
            expect(other.hashOf(found).equals(h)).toBe(true);
          }
        }
        expect(table.size).toBe(map.size);
      }),
    );
  });

  it('keeps what it has and takes no more when it is full', () => {
    for (const capacity of [0, 1, 7, 16, 1000]) {
      const table = FrameTable.create(capacity);
      for (let i = 0; i < capacity + 50; i++)
        table.add(hashOf(i), 0, { segment: i, offset: 0, length: 1, raw: 1 });
      expect(table.size).toBe(capacity);
      for (let i = 0; i < capacity + 50; i++) {
        const found = table.find(hashOf(i));
        expect(found).toBe(i < capacity ? i : -1);
        if (found >= 0) expect(table.entry(found).segment).toBe(i);
      }
    }
  });

  it('takes the first entry of a hash and ignores later ones', () => {
    const table = FrameTable.create(4);
    table.add(hashOf(1), 0, { segment: 1, offset: 1, length: 1, raw: 1 });
    table.add(hashOf(1), 0, { segment: 2, offset: 2, length: 2, raw: 2 });
    expect([table.size, table.entry(0).segment]).toEqual([1, 1]);
  });

  it('shows another thread whole entries or none while they are added', async () => {
    const table = FrameTable.create(100_000);
    const code = `
      const { parentPort, workerData } = require('node:worker_threads');
      import(workerData.url).then(({ FrameTable }) => {
        const table = FrameTable.attach(workerData.shared);
        const { createHash } = require('node:crypto');
        parentPort.postMessage('ready');
        let bad = 0;
        while (table.size < 20000) {
          const n = table.size - 1;
          if (n < 0) continue;
          const hash = createHash('sha256').update(String(n)).digest();
          const found = table.find(hash);
          if (found !== n || table.entry(found).segment !== n || table.entry(found).raw !== n + 1) bad++;
        }
        parentPort.postMessage(bad);
      });`;
    const url = new URL('../../src/core/frame-table.ts', import.meta.url).href;
    const worker = new Worker(code, { eval: true, workerData: { shared: table.shared, url } });
    const next = () =>
      new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject));
    expect(await next()).toBe('ready');
    const result = next();
    for (let i = 0; i < 20_000; i++)
      table.add(hashOf(i), 0, { segment: i, offset: 0, length: 1, raw: i + 1 });
    expect(await result).toBe(0);
    await worker.terminate();
  });
});
