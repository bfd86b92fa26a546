import { closeSync, fstatSync, openSync, readSync, writeSync } from 'node:fs';
import { Random } from './random.ts';

const PAGE = 8192;
const ROW = 128;
/** Of each row these bytes are random, as numbers, keys and hashes are; the rest is words. */
const RANDOM_OF_ROW = 40;
/** Free space that a page has at its end. */
const FREE = 1024;
const PAGES_AT_ONCE = 512;
const WORDS =
  'account address amount balance branch city country created currency customer date deleted delivery description email first invoice item last name note number open order paid pending phone price product quantity reference region shipped status street tax total updated user value vendor zip'.split(
    ' ',
  );

function prose(): Buffer {
  const random = new Random('words of a database');
  let text = '';
  while (text.length < 64 * 1024 + ROW) text += `${WORDS[random.below(WORDS.length)]} `;
  return Buffer.from(text);
}
const PROSE = prose();

/** Pages as those of a table: rows of random bytes and words, free space behind them. No two pages are equal. */
function pages(count: number, random: Random): Buffer {
  const buffer = random.bytes(count * PAGE);
  for (let page = 0; page < buffer.length; page += PAGE) {
    const free = page + PAGE - FREE;
    for (let row = page; row < free; row += ROW) {
      const from = buffer.readUInt16LE(row);
      PROSE.copy(buffer, row + RANDOM_OF_ROW, from, from + ROW - RANDOM_OF_ROW);
    }
    buffer.fill(0, free, page + PAGE);
  }
  return buffer;
}

/** Writes a file of that many bytes, rounded down to whole pages of 8 KiB; returns its size. */
export function makeDatabase(file: string, bytes: number): number {
  const random = new Random('database');
  const count = Math.floor(bytes / PAGE);
  const fd = openSync(file, 'w');
  for (let done = 0; done < count; done += PAGES_AT_ONCE) {
    writeSync(fd, pages(Math.min(PAGES_AT_ONCE, count - done), random));
  }
  closeSync(fd);
  return count * PAGE;
}

/** Writes a share of the pages anew, at places scattered evenly, in place. */
export function changePages(file: string, share: number, seed: string): void {
  const random = new Random(seed);
  const fd = openSync(file, 'r+');
  const count = fstatSync(fd).size / PAGE;
  for (const page of random.sample(Math.round(count * share), count)) {
    writeSync(fd, pages(1, random), 0, PAGE, page * PAGE);
  }
  closeSync(fd);
}

/** Changes one byte in place, somewhere in the middle. */
export function changeByte(file: string, seed: string): void {
  const fd = openSync(file, 'r+');
  const { size } = fstatSync(fd);
  const at = Math.floor(size / 4) + new Random(seed).below(Math.floor(size / 2));
  const byte = Buffer.alloc(1);
  readSync(fd, byte, 0, 1, at);
  writeSync(fd, Buffer.from([(byte[0] ?? 0) ^ 0xff]), 0, 1, at);
  closeSync(fd);
}
