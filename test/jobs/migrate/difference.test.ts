import { describe, expect, it } from 'vitest';
import { RecordSpool } from '../../../src/core/chunk-spool.ts';
import { differenceOf } from '../../../src/jobs/migrate/difference.ts';
import type { Listing } from '../../../src/jobs/read/listing.ts';
import { pathOfRecord } from '../../../src/tar/listing.ts';

const OLD = 1_700_000_000;
const BEGUN = OLD + 1000;

interface Given {
  type?: string;
  size?: number;
  mode?: string;
  mtime?: number;
  ctime?: number;
  ino?: number;
  nlink?: number;
}

let inode = 100;

/** A record as find prints it. */
function record(path: string, given: Given = {}): string {
  const { type = 'f', size = 5, mode = '644', mtime = OLD, ctime = OLD, ino = inode++, nlink = 1 } = given;
  return `${type} ${size} ${mode} 0 0 ${mtime}.5000000000 ${ctime}.5000000000 ${ino} ${nlink} ${path}`;
}

function listing(records: readonly string[], fsType = 'ext2/ext3'): Listing {
  const spool = new RecordSpool();
  for (const text of records) spool.push(text);
  return {
    spool,
    fsType,
    helperTar: '',
    sockets: 0,
    excluded: 0,
    bytes: 0,
    started: new Date(BEGUN * 1000),
    fineTimes: true,
    plain: false,
    complaints: [],
    newest: OLD,
  };
}

interface Case {
  first: string[];
  second: string[];
  target?: string[];
  suspects?: string[];
  remade?: string[];
  fsType?: string;
}

function difference({ first, second, target = first, suspects = [], remade = [], fsType }: Case) {
  const { send, remove, bytes } = differenceOf({
    first: listing(first, fsType),
    second: listing(second),
    target: listing(target),
    suspects: new Set(suspects),
    remade: new Set(remade),
  });
  return { send: [...send.records()].map(pathOfRecord), remove, bytes };
}

const root = record('.', { type: 'd' });

describe('the second pass of a migration', () => {
  it('sends nothing where nothing changed', () => {
    const all = [root, record('./a'), record('./d', { type: 'd' }), record('./d/b')];
    expect(difference({ first: all, second: all })).toEqual({ send: [], remove: [], bytes: 0 });
  });

  it.each<[string, Given]>([
    ['size', { size: 6 }],
    ['mode', { mode: '600' }],
    ['time', { mtime: OLD + 1 }],
    ['time of change alone', { ctime: OLD + 1 }],
    ['inode alone', { ino: 2 }],
    ['number of names', { nlink: 2 }],
  ])('sends a file whose %s is another, with the directory around it', (_, change) => {
    const dir = record('./d', { type: 'd' });
    const first = [root, dir, record('./d/a', { ino: 1 }), record('./d/b', { ino: 9 })];
    const second = [root, dir, record('./d/a', { ino: 1, ...change }), first[3] as string];
    const found = difference({ first, second });
    expect(found.send).toEqual(['./d', './d/a']);
    expect(found.remove).toEqual(['./d/a']);
    expect(found.bytes).toBe(change.size ?? 5);
  });

  it('sends what was suspect, what is too young to trust its times, and what the target lists otherwise', () => {
    const young = { ctime: BEGUN - 1 };
    const all = [root, record('./a'), record('./b', young), record('./c'), record('./d')];
    const target = [...all.slice(0, 3), record('./c', { size: 4 }), all[4] as string];
    expect(difference({ first: all, second: all, target, suspects: ['./a'] }).send).toEqual([
      '.',
      './a',
      './b',
      './c',
    ]);
  });

  it('sends all where times are never trusted', () => {
    const all = [root, record('./a')];
    expect(difference({ first: all, second: all, fsType: 'tmpfs' }).send).toEqual(['.', './a']);
  });

  it('removes what is gone, a directory once, and sends the directory around', () => {
    const dir = record('./d', { type: 'd' });
    const gone = [record('./d/x', { type: 'd' }), record('./d/x/1'), record('./d/x/2'), record('./d/x!')];
    const found = difference({ first: [root, dir, ...gone], second: [root, dir] });
    expect(found.remove).toEqual(['./d/x', './d/x!']);
    expect(found.send).toEqual(['./d']);
  });

  it('removes what became another kind of file, and what lay in it', () => {
    const first = [root, record('./a', { type: 'd' }), record('./a/in'), record('./b')];
    const second = [root, record('./a'), record('./b', { type: 'd' }), record('./b/in')];
    const found = difference({ first, second });
    expect(found.remove).toEqual(['./a', './b']);
    expect(found.send).toEqual(['.', './a', './b', './b/in']);
  });

  it('sends all names of a hard-linked file of which one changed, wherever they lie', () => {
    const [d, e] = [record('./d', { type: 'd' }), record('./e', { type: 'd' })];
    const names = (nlink: number) =>
      ['./d/1', './e/2', './e/3'].map((path) =>
        record(path, { ino: 7, nlink, ctime: nlink === 3 ? OLD : OLD + 1 }),
      );
    const [one, two, three] = names(3) as [string, string, string];
    const first = [root, d, one, e, two, three];
    const changed = record('./e/2', { ino: 7, nlink: 3, size: 6 });
    expect(difference({ first, second: [root, d, one, e, changed, three] }).send).toEqual([
      './d',
      './d/1',
      './e',
      './e/2',
      './e/3',
    ]);
  });

  it('sends a directory to be made anew with all that is in it, and removes the old one whole', () => {
    const all = [root, record('./d', { type: 'd' }), record('./d/a'), record('./d/b'), record('./d!')];
    expect(difference({ first: all, second: all, remade: ['./d'] })).toMatchObject({
      send: ['.', './d', './d/a', './d/b'],
      remove: ['./d'],
    });
  });
});
