import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  manifestKey,
  parseManifestKey,
  parseSegmentKey,
  type Source,
  segmentKey,
  snapshotId,
  sourceKey,
  timeOfId,
} from '../../src/repository/keys.ts';
import { assertKey } from '../../src/store/keys.ts';

const ID = '20261120T203000Z-4f9c2a';

describe('manifest keys', () => {
  const part = fc.oneof(
    fc.string({ unit: 'grapheme', minLength: 1, maxLength: 20 }),
    fc.constantFrom(
      '.',
      '..',
      '...',
      '.hidden',
      '.tmp-x',
      '%',
      '%2F',
      '%%',
      ' ',
      'a b',
      "it's",
      '(x)',
      '!*',
      '~',
      'ü',
      '\u{1f433}',
      'a/b',
      '/',
      'a\nb',
      'a\0b',
      '@latest',
      'x'.repeat(255),
    ),
  );

  it('bring any source back and are valid on every store', () => {
    fc.assert(
      fc.property(part, fc.constantFrom<Source['kind']>('container', 'volume'), part, (host, kind, name) => {
        const key = manifestKey({ host, kind, name }, ID);
        expect(() => assertKey(key)).not.toThrow();
        expect(parseManifestKey(key)).toEqual({ id: ID, source: { host, kind, name } });
      }),
      { numRuns: 2000 },
    );
  });

  it('of different sources differ, and not by case alone on purpose', () => {
    fc.assert(
      fc.property(part, part, part, part, (h1, n1, h2, n2) => {
        fc.pre(h1 !== h2 || n1 !== n2);
        expect(sourceKey({ host: h1, kind: 'volume', name: n1 })).not.toBe(
          sourceKey({ host: h2, kind: 'volume', name: n2 }),
        );
      }),
    );
  });

  it('look as format 1 says', () => {
    expect(manifestKey({ host: 'web.1', kind: 'container', name: 'my app' }, ID)).toBe(
      `snapshots/web.1/container/my%20app/${ID}.json.zst`,
    );
    expect(manifestKey({ host: '..', kind: 'volume', name: '.x' }, ID)).toBe(
      `snapshots/%2E%2E/volume/%2Ex/${ID}.json.zst`,
    );
  });

  it.each([
    'snapshots/h/volume/n/x.json.zst',
    `snapshots/h/bind/n/${ID}.json.zst`,
    `snapshots/h/volume/n/m/${ID}.json.zst`,
    `snapshots/h/volume/n/${ID}.json`,
    `condemned/h/volume/n/${ID}.json.zst`,
    `snapshots/%/volume/n/${ID}.json.zst`,
    `snapshots/%FF/volume/n/${ID}.json.zst`,
  ])('are not %s', (key) => {
    expect(parseManifestKey(key)).toBeUndefined();
  });
});

describe('segment keys', () => {
  it('hold the name, and nothing else is one', () => {
    const name = 'ab'.repeat(32);
    expect(segmentKey(name)).toBe(`segments/ab/${name}.zst`);
    expect(parseSegmentKey(segmentKey(name))).toBe(name);
    for (const key of [
      `segments/${name}.zst`,
      `segments/ab/${name}`,
      `segments/ab/${name}.zst.tmp`,
      'segments/ab/x.zst',
      `x/segments/ab/${name}.zst`,
    ]) {
      expect(parseSegmentKey(key)).toBeUndefined();
    }
  });
});

describe('snapshot ids', () => {
  it('hold the start to the second and sort by it', () => {
    expect(snapshotId(new Date('2026-11-20T20:30:00.987Z'), '4f9c2a')).toBe(ID);
    expect(timeOfId(ID).toISOString()).toBe('2026-11-20T20:30:00.000Z');
    fc.assert(
      fc.property(
        fc.date({ min: new Date(0), max: new Date('9999-01-01'), noInvalidDate: true }),
        fc.nat(1e12),
        (date, later) => {
          const after = new Date(date.getTime() + 1000 + later);
          fc.pre(after.getFullYear() < 9999);
          expect(snapshotId(date, 'ffffff') < snapshotId(after, '000000')).toBe(true);
          expect(timeOfId(snapshotId(date, '000000')).getTime()).toBe(
            Math.floor(date.getTime() / 1000) * 1000,
          );
        },
      ),
    );
  });
});
