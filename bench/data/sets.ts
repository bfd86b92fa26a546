import { execFileSync } from 'node:child_process';
import { mkdirSync, utimesSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { changeByte, changePages, makeDatabase } from './database.ts';
import { addFile, makeMedia, makeSmall, renameFile, rewriteFiles, touchFile } from './files.ts';
import { makeTree, type TreeSize } from './tree.ts';

export const GB = 1e9;
/** Files and bytes of the sets are those of the table in results.md at 1.3 GB; `scale` is 1 then. */
export const FULL_GIGABYTES = 1.3;

type Change = (directory: string, seed: string) => void;

export interface DataSet {
  name: string;
  title: string;
  make(directory: string): TreeSize;
  /** Things that happen to it between backups, by the case that measures them. */
  changes: Record<string, { title: string; apply: Change }>;
}

const SHARE = 0.01;
const DATABASE = 'table.db';

/**
 * A file that is newer than all others. borg reads the newest file of a backup again in the next one, and where there is
 * but one file that would be all.
 */
export function stamp(directory: string): void {
  const file = path.join(directory, 'stamp');
  writeFileSync(file, 'newer than the rest\n');
  const now = new Date();
  utimesSync(file, now, now);
}

/** Regular files as a list of names (bytes); with `largest` only the one that is. */
function files(directory: string, below = '.', largest = false): Buffer[] {
  const script = largest
    ? "sort -z -n | tail -z -n 1 | cut -z -d ' ' -f 2-"
    : "sort -z | cut -z -d ' ' -f 2-";
  const format = largest ? '%s %p\\0' : '0 %p\\0';
  const list = execFileSync(
    'bash',
    [
      '-c',
      `find "$1" -type f ! -name stamp ! -name '${DATABASE}' ! -path '*/media/*' -printf '${format}' | LC_ALL=C ${script}`,
      'bash',
      path.join(directory, below),
    ],
    { maxBuffer: 1 << 30 },
  );
  const names: Buffer[] = [];
  for (let from = 0; from < list.length; ) {
    const end = list.indexOf(0, from);
    names.push(list.subarray(from, end));
    from = end + 1;
  }
  return names;
}

const theLargest = (directory: string) => files(directory, '.', true)[0] as Buffer;
const scattered: Change = (directory, seed) => rewriteFiles(files(directory), SHARE, seed);
const pagesOf: Change = (directory, seed) => changePages(path.join(directory, DATABASE), SHARE, seed);

/** Many files of this machine: the tree that most cases are about. */
export function treeSet(scale: number): DataSet {
  return {
    name: 'tree',
    title: 'Files of this machine',
    make: (directory) =>
      makeTree(directory, { files: Math.round(60_000 * scale), bytes: FULL_GIGABYTES * GB * scale }),
    changes: {
      changed: { title: '1 % of the files written anew', apply: scattered },
      added: {
        title: 'one file of 100 kB added',
        apply: (directory, seed) => addFile(directory, `added-${seed}`),
      },
      touched: { title: 'the largest file touched', apply: (directory) => touchFile(theLargest(directory)) },
      renamed: { title: 'the largest file renamed', apply: (directory) => renameFile(theLargest(directory)) },
    },
  };
}

export function databaseSet(bytes: number, name = 'database'): DataSet {
  return {
    name,
    title: 'One large file as of a database',
    make: (directory) => ({ files: 1, bytes: makeDatabase(path.join(directory, DATABASE), bytes) }),
    changes: {
      changed: { title: '1 % of its 8 KiB pages written anew', apply: pagesOf },
      byte: {
        title: 'one byte changed',
        apply: (directory, seed) => changeByte(path.join(directory, DATABASE), seed),
      },
    },
  };
}

export function smallSet(count: number, name = 'small'): DataSet {
  return {
    name,
    title: 'Small files',
    make: (directory) => makeSmall(directory, count),
    changes: { changed: { title: '1 % of the files written anew', apply: scattered } },
  };
}

export function mediaSet(bytes: number): DataSet {
  return {
    name: 'media',
    title: 'Media, compressed already',
    make: (directory) => makeMedia(directory, bytes),
    changes: {},
  };
}

/** 10 GB at scale 1: files of this machine, a database of 4 GB, the rest media of which half are copies. */
export function largeSet(scale: number): DataSet {
  const tree = treeSet(scale);
  return {
    name: 'large',
    title: 'Large: files, a database and media',
    make: (directory) => {
      const parts = [
        tree.make(path.join(directory, 'files')),
        { files: 1, bytes: makeDatabase(path.join(directory, DATABASE), 4 * GB * scale) },
        makeMedia(path.join(directory, 'media'), (10 - 4 - FULL_GIGABYTES) * GB * scale, true),
      ];
      return parts.reduce((sum, part) => ({ files: sum.files + part.files, bytes: sum.bytes + part.bytes }));
    },
    changes: {
      changed: {
        title: '1 % of the files and 1 % of the pages written anew',
        apply: (directory, seed) => {
          scattered(directory, seed);
          pagesOf(directory, seed);
        },
      },
    },
  };
}

/** A file for the case that restores one: from the middle of the names, one that no tool takes for a pattern. */
export function singleFile(directory: string): string {
  const names = files(directory).map((name) => path.relative(directory, name.toString('latin1')));
  const plain = names.slice(names.length >> 1).find((name) => /^[\w./-]+$/.test(name));
  return plain ?? DATABASE;
}

export function prepare(set: DataSet, directory: string): TreeSize {
  mkdirSync(directory, { recursive: true });
  const size = set.make(directory);
  stamp(directory);
  return size;
}
