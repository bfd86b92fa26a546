import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ContentChunker, GEAR } from '../../src/repository/chunker.ts';

const KiB = 1024;

/** Random bytes that are the same in every run. */
function noise(seed: number, size: number): Buffer {
  const out = Buffer.alloc(size);
  let x = seed | 1;
  for (let i = 0; i + 4 <= size; i += 4) {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    out.writeInt32LE(x, i);
  }
  return out;
}

/** Lengths of the chunks of `bytes`, fed in pieces of these sizes, round and round. */
function chunksOf(bytes: Buffer, pieces: number[] = [bytes.length]): number[] {
  const chunker = new ContentChunker();
  const lengths: number[] = [];
  let length = 0;
  let turn = 0;
  for (let at = 0; at < bytes.length; ) {
    const piece = bytes.subarray(at, at + (pieces[turn++ % pieces.length] as number));
    for (let start = 0; start < piece.length; ) {
      const end = chunker.cut(piece, start);
      length += (end < 0 ? piece.length : end) - start;
      if (end < 0) break;
      lengths.push(length);
      length = 0;
      start = end;
    }
    at += piece.length;
  }
  if (length > 0) lengths.push(length);
  return lengths;
}

function hashes(bytes: Buffer): string[] {
  let at = 0;
  return chunksOf(bytes).map((length) => {
    at += length;
    return createHash('sha256')
      .update(bytes.subarray(at - length, at))
      .digest('hex');
  });
}

const DATA = noise(1, 20_000_000);

describe('the gear table', () => {
  it('is that of format 1', () => {
    const bytes = Buffer.alloc(1024);
    for (const [i, n] of GEAR.entries()) bytes.writeInt32LE(n, i * 4);
    expect(createHash('sha256').update(bytes).digest('hex')).toMatchInlineSnapshot(
      `"9e86baa0a2e48ab202a21361191a3983632f5faa98191e13631bfe768952d918"`,
    );
    expect(new Set(GEAR).size).toBe(256);
  });
});

describe('ContentChunker', () => {
  it('cuts where format 1 cuts', () => {
    expect(chunksOf(DATA.subarray(0, 5_000_000))).toMatchInlineSnapshot(`
      [
        322063,
        281612,
        264489,
        321843,
        311198,
        302839,
        280548,
        382926,
        294129,
        315317,
        142779,
        318284,
        283940,
        276818,
        327671,
        181598,
        161502,
        230444,
      ]
    `);
  });

  it('makes chunks of 128 KiB to 2 MiB that are the whole content', () => {
    const inputs = [
      DATA,
      Buffer.alloc(9_000_000),
      Buffer.alloc(9_000_000, 'ab'),
      noise(5, 100),
      noise(6, 128 * KiB),
    ];
    for (const bytes of inputs) {
      const lengths = chunksOf(bytes);
      expect(lengths.reduce((a, b) => a + b, 0)).toBe(bytes.length);
      for (const length of lengths.slice(0, -1)) {
        expect(length).toBeGreaterThanOrEqual(128 * KiB);
        expect(length).toBeLessThanOrEqual(2048 * KiB);
      }
      expect(lengths.at(-1)).toBeLessThanOrEqual(2048 * KiB);
    }
  });

  it('makes chunks of 250 to 400 KiB on average from random data', () => {
    const lengths = [1, 2, 3].flatMap((seed) => chunksOf(noise(seed, 20_000_000)));
    const average = lengths.reduce((a, b) => a + b, 0) / lengths.length / KiB;
    expect(average).toBeGreaterThan(250);
    expect(average).toBeLessThan(400);
  });

  it('cuts alike however the content is split', () => {
    const bytes = DATA.subarray(0, 4_000_000);
    const whole = chunksOf(bytes);
    for (const piece of [1, 4096, 65_536, 128 * KiB, 512 * KiB, 512 * KiB + 1]) {
      expect(chunksOf(bytes, [piece]), `${piece}`).toEqual(whole);
    }
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 700_000 }), { minLength: 1, maxLength: 5 }),
        (pieces) => {
          expect(chunksOf(bytes, pieces)).toEqual(whole);
        },
      ),
      { numRuns: 20 },
    );
  });

  it('finds its cuts again after one byte was inserted, removed or changed', () => {
    const before = new Set(hashes(DATA));
    for (const at of [0, 3_000_000, 11_111_111, 19_999_999]) {
      const edits = [
        Buffer.concat([DATA.subarray(0, at), Buffer.from('x'), DATA.subarray(at)]),
        Buffer.concat([DATA.subarray(0, at), DATA.subarray(at + 1)]),
        Buffer.concat([DATA.subarray(0, at), Buffer.from('x'), DATA.subarray(at + 1)]),
      ];
      for (const edited of edits) {
        const changed = hashes(edited).filter((hash) => !before.has(hash));
        expect(changed.length, `at ${at}`).toBeLessThanOrEqual(4);
      }
    }
  });

  it('begins anew after a reset, whatever came before', () => {
    const bytes = noise(9, 3_000_000);
    const chunker = new ContentChunker();
    chunker.cut(noise(3, 300_000), 0);
    chunker.reset();
    expect(chunker.cut(bytes, 0)).toBe(chunksOf(bytes)[0]);
  });
});
