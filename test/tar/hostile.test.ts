import { describe, expect, it } from 'vitest';
import { paddingOf, paxRecord, TarError } from '../../src/tar/header.ts';
import { TarScanner } from '../../src/tar/scanner.ts';
import { SparseHash } from '../../src/tar/sparse.ts';
import { headerBlock } from './archives.ts';

const sink = { member() {}, content() {}, memberEnd() {}, end() {} };

/** An extended header with these records. */
function extended(typeflag: 'x' | 'g', records: [string, string][]): Buffer {
  const body = Buffer.concat(records.map(([key, value]) => paxRecord(key, value)));
  return Buffer.concat([
    headerBlock({ type: typeflag, size: body.length }),
    body,
    Buffer.alloc(paddingOf(body.length)),
  ]);
}

/** Pushes the same kind of header until it is refused; answers with the megabytes that this took of memory. */
function untilRefused(make: (round: number) => Buffer): number {
  const scanner = new TarScanner(sink);
  const begun = process.memoryUsage.rss();
  expect(() => {
    for (let round = 0; round < 2000; round++) scanner.push(make(round));
  }).toThrow(TarError);
  return (process.memoryUsage.rss() - begun) / 2 ** 20;
}

describe('bombs in extended headers are refused, and take little memory', () => {
  it('global headers that bring ever more records', () => {
    const some = (round: number): [string, string][] =>
      Array.from({ length: 100 }, (_, i) => [`k${round}-${i}`, 'v']);
    expect(untilRefused((round) => extended('g', some(round)))).toBeLessThan(100);
  });

  it('global headers that bring ever more bytes', () => {
    const value = 'v'.repeat(1_000_000);
    expect(untilRefused((round) => extended('g', [[`k${round}`, value]]))).toBeLessThan(200);
  });

  it('one header of very many records', () => {
    const records = Array.from({ length: 50_000 }, (_, i): [string, string] => [`k${i}`, 'v']);
    expect(untilRefused(() => extended('x', records))).toBeLessThan(200);
  });

  it('a name that grows from header to header', () => {
    const long = headerBlock({ type: 'L', size: 2 ** 30 });
    expect(() => new TarScanner(sink).push(long)).toThrow('too large');
  });
});

describe('sparse maps', () => {
  const hash = (map: string, size = 10): SparseHash => {
    const sparse = new SparseHash(size);
    const bytes = Buffer.from(map);
    sparse.update(Buffer.concat([bytes, Buffer.alloc(paddingOf(bytes.length))]));
    return sparse;
  };

  it('of more extents than any file has are refused before they are read', () => {
    expect(() => hash('99999999\n')).toThrow('too large');
  });

  it('of very many empty extents are read in bounded time', () => {
    const begun = performance.now();
    const map = `500000\n${'0\n0\n'.repeat(500_000)}`;
    expect(hash(map, 0).digest()).toMatch(/^e3b0c442/);
    expect(performance.now() - begun).toBeLessThan(5000);
  });

  it('out of order, beyond the file, or with too little or too much content are refused', () => {
    expect(() => hash('2\n5\n0\n0\n0\n').digest()).not.toThrow();
    const over = hash('1\n0\n5\n');
    expect(() => over.update(Buffer.alloc(6))).toThrow('more than its map');
    expect(() => hash('1\n0\n5\n').digest()).toThrow('less than its map');
    expect(() => hash('1\n11\n1\n').update(Buffer.alloc(1))).toThrow('out of order');
  });
});
