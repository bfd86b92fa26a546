import { execFileSync } from 'node:child_process';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { comparePaths, isWithin, normalisePath, pathHash, stripComponents } from '../../src/tar/names.ts';

/** A path as find prints it, of bytes that make orders differ. */
const part = fc
  .array(
    fc.oneof(
      fc.constantFrom(1, 2, 0x20, 0x21, 0x2d, 0x2e, 0x30, 0x61, 0x62, 0xff),
      fc.integer({ min: 1, max: 255 }),
    ),
    {
      minLength: 1,
      maxLength: 4,
    },
  )
  .map((codes) => String.fromCharCode(...codes.map((c) => (c === 0x2f ? 0x61 : c))));
const path = fc.array(part, { minLength: 1, maxLength: 4 }).map((parts) => `./${parts.join('/')}`);

describe('comparePaths', () => {
  it('orders as tr, sort and tr do in the helper', () => {
    const sets = fc.sample(fc.uniqueArray(path, { minLength: 2, maxLength: 200 }), { numRuns: 8, seed: 7 });
    for (const paths of sets) {
      const input = Buffer.from(paths.map((p) => `${p}\0`).join(''), 'latin1');
      const sorted = execFileSync(
        'bash',
        ['-c', String.raw`export LC_ALL=C; tr '/\001' '\001/' | sort -z | tr '/\001' '\001/'`],
        { input },
      );
      expect(`${[...paths].sort(comparePaths).join('\0')}\0`).toBe(sorted.toString('latin1'));
    }
  });

  it('is a total order', () => {
    fc.assert(
      fc.property(path, path, path, (a, b, c) => {
        expect(Math.sign(comparePaths(a, b)) + Math.sign(comparePaths(b, a))).toBe(0);
        expect(comparePaths(a, b) === 0).toBe(a === b);
        if (comparePaths(a, b) < 0 && comparePaths(b, c) < 0) expect(comparePaths(a, c)).toBeLessThan(0);
      }),
      { numRuns: 2000 },
    );
  });

  it('puts what is in a directory directly after it', () => {
    const paths = ['.', './a', './a/c', './a!', './a-b', './a.d', './a.d/c', './a\x01', './ab', './b'];
    expect([...paths].reverse().sort(comparePaths)).toEqual(paths);
    fc.assert(
      fc.property(fc.uniqueArray(path, { maxLength: 60 }), (sample) => {
        const sorted = [...sample].sort(comparePaths);
        for (const dir of sorted) {
          const inside = sorted.map((p) => isWithin(p, dir));
          expect(inside.indexOf(true)).toBe(sorted.indexOf(dir));
          expect(inside.slice(inside.indexOf(true), inside.lastIndexOf(true) + 1)).not.toContain(false);
        }
      }),
    );
  });
});

describe('normalisePath', () => {
  it.each([
    ['.', '.'],
    ['./', '.'],
    ['', '.'],
    ['/', '.'],
    ['//', '.'],
    ['././', '.'],
    ['./.', '.'],
    ['a', './a'],
    ['a/', './a'],
    ['a//', './a'],
    ['./a/b/', './a/b'],
    ['././a', './a'],
    ['.//a//b', './a/b'],
    ['/a', './a'],
    ['///a/b', './a/b'],
    ['.a', './.a'],
    ['..a', './..a'],
    ['...', './...'],
    ['./ ', './ '],
    ['./\n', './\n'],
  ])('makes %j to %j', (name, normal) => {
    expect(normalisePath(name)).toBe(normal);
  });

  it('changes nothing when applied again, and leaves a path as find prints it alone', () => {
    fc.assert(
      fc.property(
        fc.stringMatching(/^[./a]{0,10}$/),
        (p) => normalisePath(normalisePath(p)) === normalisePath(p),
      ),
      { numRuns: 2000 },
    );
    fc.assert(fc.property(path, (p) => p.startsWith('././') || p === './.' || normalisePath(p) === p));
  });

  it('gives "." or "./…" without empty parts and without a slash at its end', () => {
    fc.assert(
      fc.property(fc.stringMatching(/^[./a]{0,10}$/), (p) => /^\.(\/[^/]+)*$/.test(normalisePath(p))),
      { numRuns: 2000 },
    );
  });
});

describe('stripComponents and isWithin', () => {
  it('counts components after the leading "./"', () => {
    expect(stripComponents('./a/b/c', 0)).toBe('./a/b/c');
    expect(stripComponents('./a/b/c', 1)).toBe('./b/c');
    expect(stripComponents('./a/b/c', 2)).toBe('./c');
    expect(stripComponents('./a/b/c', 3)).toBeUndefined();
    expect(stripComponents('.', 0)).toBe('.');
    expect(stripComponents('.', 1)).toBeUndefined();
  });

  it('takes whole components only', () => {
    expect(isWithin('./ab', './a')).toBe(false);
    expect(isWithin('./a/b', './a')).toBe(true);
    expect(isWithin('./a', './a')).toBe(true);
    expect(isWithin('./a', '.')).toBe(true);
    expect(isWithin('.', './a')).toBe(false);
  });
});

describe('pathHash', () => {
  it('is that of format 1', () => {
    const golden = ['.', './a', './base/1/2619', './\xe9\n', ''].map(pathHash);
    expect(golden).toMatchInlineSnapshot(`
      [
        1953056956,
        1490281729,
        3363844008,
        1546660955,
        2872998923,
      ]
    `);
  });

  it('ends about one run in eight on names that differ in one character', () => {
    const hits = Array.from({ length: 8000 }, (_, i) => pathHash(`./base/${i}`)).filter((h) => (h & 7) === 0);
    expect(hits.length).toBeGreaterThan(850);
    expect(hits.length).toBeLessThan(1150);
  });
});
