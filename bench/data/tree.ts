import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { appendFileSync, mkdirSync, realpathSync } from 'node:fs';
import path from 'node:path';

export interface TreeSize {
  files: number;
  bytes: number;
}

interface Found {
  path: string;
  size: number;
}

const MiB = 1024 * 1024;
const SOURCES = [
  '/usr/share',
  '/usr/lib',
  '/usr/bin',
  realpathSync(path.resolve(import.meta.dirname, '../../node_modules')),
];

/** Regular files of this machine in an order that is mixed, and the same each time. */
function realFiles(): Found[] {
  const out = spawnSync('find', [...SOURCES, '-xdev', '-type', 'f', '-printf', '%s %p\\0'], {
    maxBuffer: 512 * MiB,
  }).stdout.toString('latin1');
  const key = (name: string) => createHash('sha256').update(name, 'latin1').digest('hex');
  return out
    .split('\0')
    .filter((record) => record !== '')
    .map((record) => {
      const space = record.indexOf(' ');
      return { size: Number(record.slice(0, space)), path: record.slice(space + 1) };
    })
    .map((file) => ({ file, key: key(file.path) }))
    .sort((a, b) => (a.key < b.key ? -1 : 1))
    .map(({ file }) => file);
}

/** Takes files while they keep pace: after half of the files about half of the bytes, so that both limits are met. */
function choose(files: Found[], limit: TreeSize, soFar: TreeSize): Found[] {
  const chosen: Found[] = [];
  let { files: count, bytes } = soFar;
  for (const file of files) {
    if (count >= limit.files) break;
    if (bytes + file.size > (limit.bytes * (count + 1)) / limit.files + 32 * MiB) continue;
    chosen.push(file);
    count++;
    bytes += file.size;
  }
  return chosen;
}

function copy(files: Found[], target: string): void {
  mkdirSync(target, { recursive: true });
  const input = Buffer.from(files.map(({ path }) => `${path.slice(1)}\0`).join(''), 'latin1');
  execFileSync('xargs', ['-0', 'cp', '-a', '--parents', '-t', target], {
    input,
    cwd: '/',
    stdio: ['pipe', 'ignore', 'inherit'],
  });
}

/**
 * Fills a directory with copies of real files of this machine, up to a number of files and bytes. Where the machine
 * has fewer, they come again in another directory, each with a line added, so that they are other files to anyone.
 */
export function makeTree(target: string, limit: TreeSize): TreeSize {
  const files = realFiles();
  const sum: TreeSize = { files: 0, bytes: 0 };
  for (let round = 0; round < 20 && sum.files < limit.files * 0.98; round++) {
    const chosen = choose(files, limit, sum);
    if (chosen.length === 0) break;
    const place = round === 0 ? target : path.join(target, `again-${round}`);
    copy(chosen, place);
    if (round > 0) {
      for (const file of chosen) {
        appendFileSync(Buffer.from(path.join(place, file.path), 'latin1'), `changed ${round}\n`);
      }
    }
    sum.files += chosen.length;
    sum.bytes += chosen.reduce((bytes, file) => bytes + file.size, 0);
  }
  return sum;
}
