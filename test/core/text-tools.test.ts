import { describe, expect, it } from 'vitest';
import { LastWords, LineSplitter } from '../../src/core/lines.ts';
import { nearest } from '../../src/core/nearest.ts';
import { parseDuration, parseSize } from '../../src/core/quantities.ts';

describe('nearest', () => {
  const known = ['read-write', 'network', 'environment', 'on-error'];

  it.each([
    ['readWrite', 'read-write'],
    ['read_write', 'read-write'],
    ['netwrok', 'network'],
    ['enviroment', 'environment'],
  ])('%s was most likely %s', (word, meant) => {
    expect(nearest(word, known)).toBe(meant);
  });

  it('guesses nothing where nothing is near', () => {
    expect(nearest('password', known)).toBeUndefined();
    expect(nearest('x', [])).toBeUndefined();
  });
});

describe('quantities', () => {
  it.each([
    ['500ms', 500],
    ['90s', 90_000],
    ['1.5h', 5_400_000],
    ['2 d', 172_800_000],
    ['90', undefined],
    ['-1s', undefined],
    ['', undefined],
  ])('duration %s', (text, ms) => {
    expect(parseDuration(text)).toBe(ms);
  });

  it.each([
    ['100', 100],
    ['64k', 65_536],
    ['256M', 268_435_456],
    ['1.5GiB', 1_610_612_736],
    ['1gb', 1_073_741_824],
    ['much', undefined],
  ])('size %s', (text, bytes) => {
    expect(parseSize(text)).toBe(bytes);
  });
});

describe('LineSplitter', () => {
  function split(...parts: (string | Buffer)[]): string[] {
    const lines: string[] = [];
    const splitter = new LineSplitter((line) => lines.push(line));
    for (const part of parts) splitter.push(Buffer.from(part));
    splitter.end();
    return lines;
  }

  it('joins what comes in pieces, in the middle of a character, too', () => {
    const umlaut = Buffer.from('grün\r\nrot');
    expect(split('a', 'b\nc', '\n', umlaut.subarray(0, 3), umlaut.subarray(3))).toEqual([
      'ab',
      'c',
      'grün',
      'rot',
    ]);
  });

  it('holds no line that never ends', () => {
    const lines = split('x'.repeat(200_000));
    expect(lines.join('')).toHaveLength(200_000);
    expect(Math.max(...lines.map((line) => line.length))).toBe(64 * 1024);
  });

  it('LastWords: of a failure what stood on standard error, of a success what stood on standard output', () => {
    const words = new LastWords();
    expect([words.complaint, words.result]).toEqual(['', '']);
    words.add('stdout', '3 rows');
    words.add('stdout', '  ');
    expect([words.complaint, words.result]).toEqual(['3 rows', '3 rows']);
    words.add('stderr', 'no such table');
    expect([words.complaint, words.result]).toEqual(['no such table', '3 rows']);
  });
});
