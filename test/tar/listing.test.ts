import { execFileSync } from 'node:child_process';
import { linkSync, lstatSync, lutimesSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  FIND_FORMAT,
  type Listed,
  ListingError,
  OrderCheck,
  PATH_FIELD,
  parseListed,
  RecordSplitter,
} from '../../src/tar/listing.ts';
import { tempDir } from '../support/temp.ts';

/** Names that are hard on whoever splits lines or fields. */
const NAMES = [
  'plain',
  'two words',
  ' leading',
  'trailing ',
  'new\nline',
  '\n',
  'tab\t',
  '\xff\xfe',
  '\x01',
  'a!',
  'a',
  '-rf',
  '%s',
];

function list(dir: string): Listed[] {
  const sort = String.raw`export LC_ALL=C; cd "$1"
    find . -printf "$2" | tr '/\001' '\001/' | sort -z -t ' ' -k "$3" | tr '/\001' '\001/'`;
  const output = execFileSync('bash', ['-c', sort, 'bash', dir, FIND_FORMAT, String(PATH_FIELD)]);
  const splitter = new RecordSplitter();
  const listed = [...splitter.push(output)].map(parseListed);
  expect(splitter.rest).toBe(0);
  return listed;
}

async function oddTree(): Promise<string> {
  const dir = await tempDir();
  const at = (name: string) =>
    Buffer.from(`${dir}/${Buffer.from(name, 'latin1').toString('latin1')}`, 'latin1');
  for (const name of NAMES) writeFileSync(at(name), 'x'.repeat(name.length));
  mkdirSync(`${dir}/dir`, { mode: 0o750 });
  writeFileSync(`${dir}/dir/in`, '');
  symlinkSync('a target with 10 5 spaces', `${dir}/link`);
  linkSync(`${dir}/plain`, `${dir}/dir/second`);
  execFileSync('mkfifo', [`${dir}/fifo`]);
  execFileSync('perl', [
    '-MSocket',
    '-e',
    'socket(my $s, PF_UNIX, SOCK_STREAM, 0); bind($s, pack_sockaddr_un($ARGV[0])) or die',
    `${dir}/socket`,
  ]);
  for (const [name, time] of [
    ['before', '-1.5'],
    ['quarter', '-0.25'],
    ['epoch', '0'],
    ['late', '4102444800.75'],
  ] as const) {
    writeFileSync(`${dir}/${name}`, '');
    execFileSync('touch', ['-d', `@${time}`, `${dir}/${name}`]);
  }
  lutimesSync(`${dir}/link`, 5, 1_300_000_000.5);
  return dir;
}

describe('parseListed and find', () => {
  it('reads of every file what lstat says, whatever its name', async () => {
    const dir = await oddTree();
    const listed = list(dir);
    expect(listed.map((l) => l.path)).toEqual(expect.arrayContaining(NAMES.map((name) => `./${name}`)));
    expect(listed).toHaveLength(NAMES.length + 11);
    for (const l of listed) {
      const s = lstatSync(Buffer.from(path.posix.join(dir, l.path), 'latin1'), { bigint: true });
      expect(l, l.path).toMatchObject({
        size: Number(s.size),
        mode: Number(s.mode & 0o7777n),
        uid: Number(s.uid),
        gid: Number(s.gid),
        ino: Number(s.ino),
        nlink: Number(s.nlink),
      });
      // As struct timespec counts: whole seconds downwards, nanoseconds upwards.
      const split = (ns: bigint) => {
        const part = ((ns % 1_000_000_000n) + 1_000_000_000n) % 1_000_000_000n;
        return `${(ns - part) / 1_000_000_000n}.${String(part).padStart(9, '0')}`;
      };
      expect([l.mtime, l.ctime], l.path).toEqual([split(s.mtimeNs), split(s.ctimeNs)]);
    }
  });

  it('knows every type', async () => {
    const types = new Map(list(await oddTree()).map((l) => [l.path, l.type]));
    expect(types.get('.')).toBe('dir');
    expect(types.get('./link')).toBe('symlink');
    expect(types.get('./fifo')).toBe('fifo');
    expect(types.get('./socket')).toBe('socket');
    expect(types.get('./\n')).toBe('file');
    expect(parseListed('c 0 666 0 0 0.0000000000 0.0000000000 5 1 ./null').type).toBe('char');
    expect(parseListed('b 0 666 0 0 0.0000000000 0.0000000000 5 1 ./loop').type).toBe('block');
  });

  it('reads times before 1970 as tar does', async () => {
    const times = new Map(list(await oddTree()).map((l) => [l.path, l.mtime]));
    expect(times.get('./before')).toBe('-2.500000000');
    expect(times.get('./quarter')).toBe('-1.750000000');
    expect(times.get('./epoch')).toBe('0.000000000');
    expect(times.get('./late')).toBe('4102444800.750000000');
  });

  it('comes from the helper in the order of members', async () => {
    const check = new OrderCheck();
    for (const { path } of list(await oddTree())) check.next(path);
  });
});

describe('parseListed and damage', () => {
  const good = 'f 12 644 0 0 1.0000000000 2.0000000000 77 1 ./a b';

  it('takes the good record', () => {
    expect(parseListed(good)).toEqual({
      path: './a b',
      type: 'file',
      size: 12,
      mode: 0o644,
      uid: 0,
      gid: 0,
      mtime: '1.000000000',
      ctime: '2.000000000',
      ino: 77,
      nlink: 1,
    });
  });

  it.each([
    ['', 'nothing'],
    ['f 12 644 0 0 1.0 2.0 77 1 ', 'no path'],
    ['f 12 644 0 0 1.0 2.0 77 1', 'a field less'],
    ['x 12 644 0 0 1.0 2.0 77 1 ./a', 'an unknown type'],
    ['f -1 644 0 0 1.0 2.0 77 1 ./a', 'a negative size'],
    ['f  644 0 0 1.0 2.0 77 1 2 ./a', 'an empty size'],
    ['f 0x1 644 0 0 1.0 2.0 77 1 ./a', 'a size in hex'],
    ['f 1.5 644 0 0 1.0 2.0 77 1 ./a', 'a broken size'],
    ['f 12 648 0 0 1.0 2.0 77 1 ./a', 'a mode that is not octal'],
    ['f 12 644 root 0 1.0 2.0 77 1 ./a', 'a user name'],
    ['f 12 644 0 0 now 2.0 77 1 ./a', 'no time'],
    ['f 12 644 0 0 1.0 2.x 77 1 ./a', 'half a time'],
    ['f 12 644 0 0 1.0  77 1 5 ./a', 'an empty time'],
  ])('refuses %j: %s', (record) => {
    expect(() => parseListed(record)).toThrow(ListingError);
  });

  it('raises nothing but ListingError, and returns nothing that an index could not hold', () => {
    const field = fc.oneof(
      fc.constantFrom('f', 'd', '12', '644', '0', '1.5', '', '-1', '1e9', '18446744073709551615'),
      fc.string({ maxLength: 5 }),
    );
    const record = fc.oneof(
      fc.string({ maxLength: 80 }),
      fc.array(field, { minLength: 9, maxLength: 11 }).map((f) => f.join(' ')),
    );
    fc.assert(
      fc.property(record, (text) => {
        let listed: Listed;
        try {
          listed = parseListed(text);
        } catch (error) {
          expect(error).toBeInstanceOf(ListingError);
          return;
        }
        for (const n of [listed.size, listed.mode, listed.uid, listed.gid, listed.ino, listed.nlink]) {
          expect(Number.isSafeInteger(n) && n >= 0).toBe(true);
        }
        expect(listed.mtime).toMatch(/^-?\d{1,20}\.\d{9}$/);
        expect(listed.ctime).toMatch(/^-?\d{1,20}\.\d{9}$/);
      }),
      { numRuns: 3000 },
    );
  });

  it('keeps inode numbers of 64 bits apart, as small numbers', () => {
    // overlayfs (xino), mergerfs and NFS use the high bits.
    const inodes = ['9223372036854775809', '9223372036854775810', '18446744073709551615', '9007199254740993'];
    const listed = inodes.map((ino) => parseListed(`f 1 644 0 0 1.0 1.0 ${ino} 2 ./a`).ino);
    for (const ino of listed) expect(Number.isSafeInteger(ino)).toBe(true);
    expect(new Set(listed).size).toBe(inodes.length);
    expect(parseListed(good).ino).toBe(77);
  });
});

describe('RecordSplitter and OrderCheck', () => {
  it('splits alike however the stream is split', () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.string({ unit: 'binary-ascii', minLength: 1, maxLength: 9 }).map((s) => s.replaceAll('\0', 'x')),
        ),
        fc.integer({ min: 1, max: 30 }),
        (records, size) => {
          const bytes = Buffer.from(records.map((r) => `${r}\0`).join(''), 'latin1');
          const splitter = new RecordSplitter();
          const found: string[] = [];
          for (let at = 0; at < bytes.length; at += size)
            found.push(...splitter.push(bytes.subarray(at, at + size)));
          expect(found).toEqual(records);
          expect(splitter.rest).toBe(0);
        },
      ),
    );
  });

  it('tells that a record is cut off', () => {
    const splitter = new RecordSplitter();
    expect([...splitter.push(Buffer.from('a\0b'))]).toEqual(['a']);
    expect(splitter.rest).toBe(1);
  });

  it.each([[['./a', './a']], [['./b', './a']], [['./a-b', './a/c']], [['./a', '.']]])(
    'refuses %j: out of order',
    (paths) => {
      const check = new OrderCheck();
      check.next(paths[0] as string);
      expect(() => check.next(paths[1] as string)).toThrow(ListingError);
    },
  );
});
