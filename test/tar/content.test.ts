import { execFileSync } from 'node:child_process';
import { readdirSync, writeFileSync } from 'node:fs';
import { truncate } from 'node:fs/promises';
import path from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { IndexMember } from '../../src/core/member.ts';
import { digestLine, VolumeDigest } from '../../src/tar/digest.ts';
import { parsePax, paxRecord } from '../../src/tar/header.ts';
import { SparseHash } from '../../src/tar/sparse.ts';
import { hashXattrs } from '../../src/tar/xattrs.ts';
import { tempDir } from '../support/temp.ts';
import { hardTree } from '../support/trees.ts';
import { chunksOf, gnuTar, HELPER_TAR, scan, sha256 } from './archives.ts';

/** What a member in sparse format 1.0 holds: a map padded to a block, then the extents. */
function sparse10(extents: { offset: number; data: Buffer }[], size: number): Buffer {
  const all = [...extents.map((e) => [e.offset, e.data.length]), [size, 0]];
  const map = Buffer.from(`${all.length}\n${all.map(([o, l]) => `${o}\n${l}\n`).join('')}`);
  return Buffer.concat([map, Buffer.alloc((512 - (map.length % 512)) % 512), ...extents.map((e) => e.data)]);
}

function hashOf(stored: Buffer, size: number, chunk = stored.length): string {
  const hash = new SparseHash(size);
  for (const bytes of chunksOf(stored, Math.max(1, chunk))) hash.update(bytes);
  return hash.digest();
}

describe('SparseHash', () => {
  it('is the SHA-256 of the file, wherever its holes are and however the stream is split', () => {
    const extent = fc.record({ gap: fc.nat(3000), length: fc.nat(2000) });
    fc.assert(
      fc.property(
        fc.array(extent, { maxLength: 12 }),
        fc.nat(5000),
        fc.integer({ min: 1, max: 5000 }),
        (parts, rest, chunk) => {
          let at = 0;
          const extents = parts.map(({ gap, length }, i) => {
            const offset = at + gap;
            at = offset + length;
            return { offset, data: Buffer.alloc(length, i + 1) };
          });
          const file = Buffer.alloc(at + rest);
          for (const { offset, data } of extents) data.copy(file, offset);
          expect(hashOf(sparse10(extents, file.length), file.length, chunk)).toBe(sha256(file));
        },
      ),
      { numRuns: 300 },
    );
  });

  it.each<[string, Buffer, number]>([
    ['a map that is cut off', sparse10([], 10).subarray(0, 511), 10],
    ['no map at all', Buffer.alloc(0), 10],
    ['more data than the map says', Buffer.concat([sparse10([], 10), Buffer.alloc(1)]), 10],
    [
      'less data than the map says',
      sparse10([{ offset: 0, data: Buffer.alloc(100) }], 200).subarray(0, 540),
      200,
    ],
    ['an extent beyond the end', sparse10([{ offset: 20, data: Buffer.alloc(5) }], 10), 10],
    ['an extent across the end', sparse10([{ offset: 8, data: Buffer.alloc(5) }], 10), 10],
    [
      'extents out of order',
      sparse10(
        [
          { offset: 50, data: Buffer.alloc(5) },
          { offset: 0, data: Buffer.alloc(5) },
        ],
        99,
      ),
      99,
    ],
    [
      'extents that overlap',
      sparse10(
        [
          { offset: 0, data: Buffer.alloc(5) },
          { offset: 3, data: Buffer.alloc(5) },
        ],
        99,
      ),
      99,
    ],
    ['a negative number', Buffer.from('1\n-5\n0\n'.padEnd(512, '\0')), 10],
    ['text', Buffer.from('x\n'.padEnd(512, '\0')), 10],
    ['an empty line', Buffer.from('\n\n\n'.padEnd(512, '\0')), 10],
    ['a number in hex', Buffer.from('0x1\n10\n0\n'.padEnd(512, '\0')), 10],
  ])('refuses %s', (_, stored, size) => {
    for (const chunk of [1, 7, 512, 4096])
      expect(() => hashOf(stored, size, chunk), `${chunk}`).toThrow(RangeError);
  });

  it('refuses an endless map', () => {
    const hash = new SparseHash(10);
    const digits = Buffer.alloc(8 * 1024 * 1024, '1');
    expect(() => {
      for (let i = 0; i < 20; i++) hash.update(digits);
    }).toThrow(RangeError);
  });

  it('reads a map of 100,000 extents in chunks of 64 KiB in bounded time', () => {
    const extents = Array.from({ length: 100_000 }, (_, i) => ({ offset: i * 8192, data: Buffer.from('x') }));
    const stored = sparse10(extents, 8192 * 100_000);
    const started = performance.now();
    hashOf(stored, 8192 * 100_000, 65_536);
    // 0.4 s is the hashing of 800 MB of zeros.
    expect(performance.now() - started).toBeLessThan(5000);
  });

  it('agrees with what a real tar --sparse makes of real files', async () => {
    const dir = await tempDir();
    writeFileSync(`${dir}/start`, 'x'.repeat(5000));
    await truncate(`${dir}/start`, 3_000_000);
    writeFileSync(`${dir}/hole`, '');
    await truncate(`${dir}/hole`, 5_000_001);
    const script =
      'for i in 0 3 7 90; do printf data | dd of="$1/many" bs=1 seek=$((i * 70000)) conv=notrunc status=none; done';
    execFileSync('bash', ['-c', script, 'bash', dir]);
    const { members } = scan([gnuTar(dir, ...HELPER_TAR, '--sparse')]);
    const files = members.filter((m) => m.type === 'file');
    expect(files.map((m) => m.sparse)).toEqual(['pax-1.0', 'pax-1.0', 'pax-1.0']);
    for (const m of files) {
      const [expected] = execFileSync('sha256sum', [path.join(dir, m.path)])
        .toString()
        .split(' ');
      expect(m.sha256, m.path).toBe(expected);
      expect(m.stored).toBeLessThan(m.size / 10);
    }
  });
});

/** Undoes getfattr's escapes in names (backslash and three octal digits), as recipes must. */
function unescapeName(name: string): string {
  return name.replace(/\\([0-7]{3})/g, (_, octal) => String.fromCharCode(Number.parseInt(octal, 8)));
}

/** The hash of what `getfattr -d -m - -e hex` prints of one file, by the words of tar/xattrs.ts. */
function getfattrHash(file: Buffer): string | undefined {
  const name = file.toString('latin1');
  const output = execFileSync('bash', [
    '-c',
    `getfattr -h -d -m - -e hex --absolute-names -- "$(printf "$1"; echo /)"`.replace('; echo /', ''),
    'bash',
    name.replace(/[^a-z0-9/-]/gi, (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, '0')}`),
  ]);
  const lines = output
    .toString('latin1')
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('# file: '));
  const names = lines
    .map(
      (line) =>
        [unescapeName(line.slice(0, line.lastIndexOf('='))), line.slice(line.lastIndexOf('=') + 1)] as const,
    )
    .filter(([key]) => !key.startsWith('trusted.'))
    .sort(([a], [b]) => (a < b ? -1 : 1));
  return names.length === 0
    ? undefined
    : sha256(Buffer.from(names.map(([k, v]) => `${k}=${v}\n`).join(''), 'latin1'));
}

describe('hashXattrs', () => {
  it('is undefined where nothing counts', () => {
    expect(hashXattrs(new Map())).toBeUndefined();
    expect(
      hashXattrs(
        new Map([
          ['SCHILY.xattr.security.selinux', 'x'],
          ['SCHILY.xattr.trusted.overlay', 'y'],
          ['SCHILY.acl.access', 'z'],
          ['path', 'p'],
        ]),
      ),
    ).toBeUndefined();
  });

  it('does not depend on the order of the records', () => {
    const records: [string, string][] = [
      ['SCHILY.xattr.user.b', '1'],
      ['SCHILY.xattr.user.a', '2'],
      ['SCHILY.xattr.user.a.b', ''],
    ];
    const expected = sha256('user.a=0x32\nuser.a.b=0x\nuser.b=0x31\n');
    expect(hashXattrs(new Map(records))).toBe(expected);
    expect(hashXattrs(new Map(records.reverse()))).toBe(expected);
  });

  it('tells names and values apart that look alike', () => {
    const hash = (name: string, value: string) => hashXattrs(new Map([[`SCHILY.xattr.${name}`, value]]));
    expect(hash('user.a', 'b')).not.toBe(hash('user.ab', ''));
    expect(hash('user.a', '\0')).not.toBe(hash('user.a', ''));
  });

  it('of a real tar is that of what getfattr prints, for odd names and values', async () => {
    const dir = await tempDir();
    const set = (file: string, name: string, value?: string) => {
      writeFileSync(`${dir}/${file}`, '', { flag: 'a' });
      execFileSync('setfattr', ['-n', name, ...(value === undefined ? [] : ['-v', value]), `${dir}/${file}`]);
    };
    set('equals', 'user.a=b', 'x');
    set('equals', 'user.a', 'y=z');
    set('percent', 'user.%3D', 'x');
    set('percent', 'user.%25', 'x');
    set('odd', 'user.sp ce', 'x');
    set('odd', 'user.ü', 'x');
    set('odd', 'user.back\\slash', 'x');
    set('empty', 'user.empty');
    set('binary', 'user.binary', '0x000a3d0dff0a3230206d74696d653d310a00');
    set('capability', 'security.capability', '0x0100000200200000000000000000000000000000');
    writeFileSync(`${dir}/acl`, '');
    execFileSync('setfacl', ['-m', 'u:1001:r--,g:2002:rw-', `${dir}/acl`]);
    writeFileSync(`${dir}/none`, '');
    const { members } = scan([gnuTar(dir, ...HELPER_TAR)]);
    const hashes = new Map(members.map((m) => [m.path, m.xattrs]));
    for (const name of readdirSync(dir)) {
      expect(hashes.get(`./${name}`), name).toBe(getfattrHash(Buffer.from(`${dir}/${name}`)));
    }
    expect(hashes.get('./none')).toBeUndefined();
    expect([...hashes.values()].filter(Boolean)).toHaveLength(7);
  });
});

describe('the hard tree, through a real tar', () => {
  it('is read with every size, time, mode, owner and link that the file system has', async () => {
    const dir = await tempDir();
    await hardTree(dir);
    execFileSync('rm', [`${dir}/sparse/nine-gigabytes`]);
    const { members, told, offset } = scan([gnuTar(dir, ...HELPER_TAR, '--sparse')]);
    expect(offset).toBe(told.length + 1024);
    const find = execFileSync(
      'find',
      ['.', '!', '-type', 's', '-printf', String.raw`%y %s %m %U %G %T@ %n %p\0`],
      { cwd: dir, maxBuffer: 1 << 26 },
    );
    const byPath = new Map(members.map((m) => [m.path, m]));
    const records = find.toString('latin1').split('\0').slice(0, -1);
    expect(byPath.size).toBe(records.length);
    for (const record of records) {
      const [type = '', size, mode = '', uid, gid, time = '', nlink, ...rest] = record.split(' ');
      const m = byPath.get(rest.join(' '));
      expect(m, record).toBeDefined();
      if (m?.type === 'hardlink') {
        expect(Number(nlink)).toBeGreaterThan(1);
        expect(byPath.has(m.link ?? '')).toBe(true);
        continue;
      }
      expect({ type: m?.type, mode: m?.mode, uid: m?.uid, gid: m?.gid, mtime: m?.mtime }, record).toEqual({
        type: { f: 'file', d: 'dir', l: 'symlink', p: 'fifo', c: 'char', b: 'block' }[type],
        mode: Number.parseInt(mode, 8),
        uid: Number(uid),
        gid: Number(gid),
        mtime: time.slice(0, -1),
      });
      if (type === 'f') expect(m?.size, record).toBe(Number(size));
    }
    const sums = execFileSync('bash', ['-c', 'find . -type f -print0 | xargs -0 sha256sum -z'], {
      cwd: dir,
      maxBuffer: 1 << 26,
    });
    for (const line of sums.toString('latin1').split('\0').slice(0, -1)) {
      const m = byPath.get(line.slice(66));
      if (m?.type === 'file') expect(m.sha256, line).toBe(line.slice(0, 64));
    }
    const xattrs = new Map(members.map((m) => [m.path, m.xattrs]));
    for (const name of readdirSync(`${dir}/xattrs`).filter(
      (n) => byPath.get(`./xattrs/${n}`)?.type !== 'hardlink',
    )) {
      expect(xattrs.get(`./xattrs/${name}`), name).toBe(getfattrHash(Buffer.from(`${dir}/xattrs/${name}`)));
    }
  });
});

describe('pax records', () => {
  it('come back as they were written, whatever their bytes and lengths', () => {
    const value = fc.oneof(
      fc.uint8Array({ maxLength: 200 }),
      fc.integer({ min: 60, max: 1100 }).map((n) => Buffer.alloc(n, 'v')),
    );
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.stringMatching(/^[a-zA-Z.]{1,30}$/), value)), (records) => {
        const latin = records.map(([k, v]) => [k, Buffer.from(v).toString('latin1')] as const);
        const bytes = Buffer.concat(latin.map(([k, v]) => paxRecord(k, v)));
        expect([...parsePax(bytes, 0)]).toEqual([...new Map(latin)]);
      }),
      { numRuns: 500 },
    );
  });

  it('count their own length where its digits change it', () => {
    for (let n = 1; n < 1200; n++) {
      const record = paxRecord('k', 'v'.repeat(n));
      expect(Number(record.toString('latin1').split(' ')[0])).toBe(record.length);
    }
  });
});

describe('the volume digest', () => {
  const members: IndexMember[] = [
    { path: '.', type: 'dir', size: 0, mode: 0o755, uid: 0, gid: 0, mtime: '1.000000000', span: 512 },
    {
      path: './a b\n',
      type: 'file',
      size: 5,
      mode: 0o4755,
      uid: 70,
      gid: 71,
      mtime: '-2.500000000',
      span: 1024,
      sha256: 'a'.repeat(64),
      xattrs: 'b'.repeat(64),
      ino: 5,
      ctime: '9.000000000',
      nlink: 2,
    },
    {
      path: './h',
      type: 'hardlink',
      size: 0,
      mode: 0o644,
      uid: 9,
      gid: 9,
      mtime: '7.000000000',
      span: 512,
      link: './a b\n',
    },
    {
      path: './l\xff',
      type: 'symlink',
      size: 0,
      mode: 0o777,
      uid: 0,
      gid: 0,
      mtime: '1.000000000',
      span: 512,
      link: '\xfe x',
    },
    {
      path: './n',
      type: 'char',
      size: 0,
      mode: 0o666,
      uid: 0,
      gid: 0,
      mtime: '1.000000000',
      span: 512,
      device: '1:3',
    },
  ];
  const digestOf = (all: IndexMember[]) => {
    const digest = new VolumeDigest();
    for (const m of all) digest.add(m);
    return digest.digest();
  };

  it('has the lines of format 1', () => {
    expect(members.map((m) => digestLine(m).toString('latin1'))).toEqual([
      'dir 755 0 0 1.000000000 - - - - .\0\0',
      `file 4755 70 71 -2.500000000 5 - ${'b'.repeat(64)} ${'a'.repeat(64)} ./a b\n\0\0`,
      'hardlink - - - - - - - - ./h\0./a b\n\0',
      'symlink 777 0 0 1.000000000 - - - - ./l\xff\0\xfe x\0',
      'char 666 0 0 1.000000000 - 1:3 - - ./n\0\0',
    ]);
  });

  it('has the value of format 1', () => {
    expect(digestOf(members)).toMatchInlineSnapshot(
      `"37c5df9637e7b2dc21c66d39882ac34a88b12e7a1de9c54825dbc799254ef237"`,
    );
    expect(digestOf([])).toBe(sha256(''));
  });

  it('does not depend on spans, inodes, ctimes or suspicion', () => {
    const other = members.map((m) => ({
      ...m,
      span: 99_999,
      ino: 1,
      ctime: '1.000000000',
      nlink: 1,
      suspect: true,
    }));
    expect(digestOf(other)).toBe(digestOf(members));
  });

  it('depends on everything that is in a volume', () => {
    const file = members[1] as IndexMember;
    const variants: Partial<IndexMember>[] = [
      { mode: 1 },
      { uid: 1 },
      { gid: 1 },
      { mtime: '1.000000000' },
      { size: 6 },
      { sha256: 'c'.repeat(64) },
      { xattrs: 'c'.repeat(64) },
      { path: './a' },
      { type: 'fifo' },
    ];
    const seen = new Set([digestOf(members), digestOf([...members].reverse())]);
    for (const variant of variants) seen.add(digestOf(members.with(1, { ...file, ...variant })));
    expect(seen.size).toBe(variants.length + 2);
  });
});
