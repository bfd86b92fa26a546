import {
  closeSync,
  copyFileSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  statSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import path from 'node:path';
import { Random } from './random.ts';
import type { TreeSize } from './tree.ts';

const MiB = 1024 * 1024;

/** Files of 100 to 4,000 bytes, a hundred in a directory: lines of keys and values, half of them random. */
export function makeSmall(target: string, count: number): TreeSize {
  const random = new Random('small files');
  const sum: TreeSize = { files: 0, bytes: 0 };
  let directory = '';
  for (let n = 0; n < count; n++) {
    if (n % 100 === 0) {
      directory = path.join(target, `${Math.floor(n / 10_000)}`, `${Math.floor(n / 100) % 100}`);
      mkdirSync(directory, { recursive: true });
    }
    const length = 100 + Math.floor(3900 * (random.below(1000) / 1000) ** 3);
    let text = '';
    while (text.length < length) text += `key-${text.length}: ${random.below(2 ** 32)}\n`;
    writeFileSync(path.join(directory, `${n}.txt`), text.slice(0, length));
    sum.files++;
    sum.bytes += length;
  }
  return sum;
}

/**
 * Bytes that do not compress, as those of pictures, films and archives, in files of 1 to 32 MiB; the last one is shorter.
 * With `copies` the second half of the bytes is files that were there already, under other names.
 */
export function makeMedia(target: string, bytes: number, copies = false): TreeSize {
  const random = new Random('media');
  const sum: TreeSize = { files: 0, bytes: 0 };
  const made: string[] = [];
  mkdirSync(target, { recursive: true });
  const limit = copies ? bytes / 2 : bytes;
  while (sum.bytes < limit) {
    const name = path.join(target, `${made.length}.bin`);
    const size = Math.min((1 + random.below(32)) * MiB, Math.ceil(limit - sum.bytes));
    const fd = openSync(name, 'w');
    for (let left = size; left > 0; left -= MiB) writeSync(fd, random.bytes(Math.min(left, MiB)));
    closeSync(fd);
    made.push(name);
    sum.files++;
    sum.bytes += size;
  }
  for (const name of copies ? made : []) {
    copyFileSync(name, `${name}-again`);
    sum.files++;
    sum.bytes += statSync(name).size;
  }
  return sum;
}

/** Writes a share of the files anew, each with 32 other bytes somewhere in it (an empty one gets these 32). */
export function rewriteFiles(files: Buffer[], share: number, seed: string): void {
  const random = new Random(seed);
  for (const n of random.sample(Math.round(files.length * share), files.length)) {
    const file = files[n] as Buffer;
    const content = readFileSync(file);
    const mark = random.bytes(16).toString('hex');
    if (content.length === 0) {
      writeFileSync(file, mark);
    } else {
      content.write(mark, random.below(Math.max(1, content.length - mark.length)), 'latin1');
      writeFileSync(file, content);
    }
  }
}

/** A new file of 100,000 random bytes. */
export function addFile(target: string, name: string): void {
  writeFileSync(path.join(target, name), new Random(name).bytes(100_000));
}

/** Another time, the same content. */
export function touchFile(file: Buffer): void {
  const { atime, mtime } = statSync(file);
  utimesSync(file, atime, new Date(mtime.getTime() + 60_000));
}

/** Another name in the same directory: a suffix is added, and taken off the next time. */
export function renameFile(file: Buffer): void {
  const suffix = Buffer.from('.renamed');
  const at = file.length - suffix.length;
  const other = file.subarray(at).equals(suffix) ? file.subarray(0, at) : Buffer.concat([file, suffix]);
  renameSync(file, other);
}
