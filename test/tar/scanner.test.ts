import fc from 'fast-check';
import { pack } from 'tar-stream';
import { describe, expect, it } from 'vitest';
import { paxRecord, TarError } from '../../src/tar/header.ts';
import { TarScanner } from '../../src/tar/scanner.ts';
import { chunksOf, END, fixture, headerBlock, member, paxHeader, scan, sha256, signed } from './archives.ts';

const ARCHIVES = [
  'gnu-tar-pax.tar',
  'gnu-tar-gnu.tar',
  'gnu-tar-oldgnu.tar',
  'gnu-tar-ustar.tar',
  'gnu-tar-v7.tar',
  'gnu-tar-global.tar',
  'gnu-tar-sparse-0.0.tar',
  'gnu-tar-sparse-0.1.tar',
  'gnu-tar-sparse-1.0.tar',
  'gnu-tar-sparse-old.tar',
  'busybox.tar',
  'python-pax.tar',
  'python-gnu.tar',
];

/** What is in the small tree of fixtures/tars/make.sh. */
const TREE: Record<string, object> = {
  './tree': { type: 'dir', mode: 0o755, size: 0 },
  './tree/block': { type: 'file', size: 512, sha256: sha256('b'.repeat(512)) },
  './tree/dir': { type: 'dir' },
  './tree/dir/1025': {
    type: 'file',
    mode: 0o600,
    size: 1025,
    sha256: sha256('c'.repeat(1025)),
    padding: 511,
  },
  './tree/empty': { type: 'file', size: 0, sha256: sha256('') },
  './tree/empty-dir': { type: 'dir' },
  './tree/fifo': { type: 'fifo', size: 0 },
  './tree/symlink': { type: 'symlink', link: 'dir/1025', size: 0 },
};

/** The events of a scan as one comparable value: chunks of content joined. */
function events(chunks: Iterable<Buffer>) {
  const { members, told, ended, offset } = scan(chunks);
  return {
    told: sha256(told),
    ended,
    offset,
    members: members.map((m) => ({ ...m, content: sha256(m.content), pax: [...m.pax] })),
  };
}

describe('TarScanner and archives of other programs', () => {
  it.each(ARCHIVES)('tells every byte of %s, in order, up to its end mark', (name) => {
    const archive = fixture(name);
    const { told, ended, offset } = scan([archive]);
    expect(ended).toBe(true);
    expect(told.equals(archive.subarray(0, told.length))).toBe(true);
    expect(offset).toBe(told.length + 1024);
    expect(archive.subarray(told.length).every((byte) => byte === 0)).toBe(true);
  });

  it.each(ARCHIVES.filter((name) => !name.includes('sparse')))('finds the members of %s', (name) => {
    const found = new Map(scan([fixture(name)]).members.map((m) => [m.path, m]));
    for (const [path, expected] of Object.entries(TREE)) {
      if (path === './tree/fifo' && name === 'gnu-tar-v7.tar') continue;
      const at = name === 'gnu-tar-global.tar' ? '1400000000.500000000' : '1500000000.000000000';
      expect(found.get(path), path).toMatchObject({ ...expected, mtime: at });
    }
    const [file, link] = [found.get('./tree/file'), found.get('./tree/hardlink')];
    const [first, second] = file?.type === 'file' ? [file, link] : [link, file];
    expect(first).toMatchObject({ type: 'file', size: 6, sha256: sha256('hello\n') });
    expect(second).toMatchObject({ type: 'hardlink', size: 0, stored: 0, link: first?.path });
  });

  it.each([
    'gnu-tar-pax.tar',
    'gnu-tar-gnu.tar',
    'gnu-tar-oldgnu.tar',
    'busybox.tar',
    'python-pax.tar',
    'python-gnu.tar',
  ])('reads long names, long links and names that are not UTF-8 in %s', (name) => {
    const found = new Map(scan([fixture(name)]).members.map((m) => [m.path, m]));
    const part = 'n'.repeat(90);
    expect(found.get(`./long/${part}/${part}/${part}`)).toMatchObject({ size: 5, sha256: sha256('long\n') });
    expect(found.get('./long/symlink')).toMatchObject({ type: 'symlink', link: 't'.repeat(150) });
    expect(found.get('./long/\xe9\nx'), [...found.keys()].join()).toMatchObject({
      sha256: sha256('latin\n'),
    });
  });

  it('keeps nanoseconds of a pax archive', () => {
    const { members } = scan([fixture('gnu-tar-pax.tar')]);
    expect(members.find((m) => m.path === './long/symlink')?.mtime).toBe('1500000000.123456789');
  });

  it('applies global pax headers to all members after them', () => {
    const { members } = scan([fixture('gnu-tar-global.tar')]);
    expect(members.length).toBeGreaterThan(5);
    for (const m of members) expect(m.pax.get('comment')).toBe('x');
  });

  it('prefers a member’s own pax record to a global one', () => {
    const archive = Buffer.concat([
      paxHeader(paxRecord('mtime', '5'), 'g'),
      paxHeader(paxRecord('mtime', '7')),
      member({ name: 'a' }),
      member({ name: 'b' }),
      END,
    ]);
    expect(scan([archive]).members.map((m) => m.mtime)).toEqual(['7.000000000', '5.000000000']);
  });

  it('reads what tar-stream packs', async () => {
    const packer = pack();
    const name = `${'d'.repeat(120)}/${'f'.repeat(120)}`;
    packer.entry({ name: 'dir', type: 'directory', mode: 0o755, uid: 200_000 });
    packer.entry({ name, mtime: new Date(1e12) }, Buffer.from('content'));
    packer.entry({ name: 'hard', type: 'link', linkname: name });
    packer.entry({ name: 'ü', type: 'symlink', linkname: 'é' });
    packer.entry({ name: 'null', type: 'character-device', devmajor: 1, devminor: 3 });
    packer.finalize();
    const chunks: Buffer[] = [];
    for await (const chunk of packer) chunks.push(chunk as Buffer);
    const [dir, file, hard, link, device] = scan(chunks).members;
    expect(dir).toMatchObject({ path: './dir', type: 'dir', uid: 200_000 });
    expect(file).toMatchObject({
      path: `./${name}`,
      mtime: '1000000000.000000000',
      sha256: sha256('content'),
    });
    expect(hard).toMatchObject({ type: 'hardlink', link: `./${name}` });
    expect(Buffer.from(link?.link ?? '', 'latin1').toString()).toBe('é');
    expect(device).toMatchObject({ type: 'char', device: '1:3' });
  });

  it('hashes a sparse member of format 1.0 as the file it stands for', () => {
    const { members } = scan([fixture('gnu-tar-sparse-1.0.tar')]);
    const sparse = Buffer.alloc(300_000);
    sparse.write('middle', 150_000);
    sparse.write('end', 299_997);
    const many = Buffer.alloc(59 * 8192 + 1);
    for (let i = 0; i < 60; i++) many.write('x', i * 8192);
    const expected = { './sparse': sparse, './hole': Buffer.alloc(100_000), './many': many };
    for (const m of members) {
      const content = expected[m.path as keyof typeof expected];
      expect(m, m.path).toMatchObject({ sparse: 'pax-1.0', size: content.length, sha256: sha256(content) });
    }
    expect(members.map((m) => m.path)).toEqual(Object.keys(expected));
  });

  it.each([
    ['gnu-tar-sparse-0.0.tar', 'pax-0'],
    ['gnu-tar-sparse-0.1.tar', 'pax-0'],
    ['gnu-tar-sparse-old.tar', 'old'],
  ])('marks the older sparse members of %s and knows their real sizes', (name, sparse) => {
    const { members } = scan([fixture(name)]);
    expect(members.map((m) => [m.path, m.size, m.sparse])).toEqual([
      ['./sparse', 300_000, sparse],
      ['./hole', 100_000, sparse],
      ['./many', 59 * 8192 + 1, sparse],
    ]);
  });
});

describe('TarScanner and how a stream is split', () => {
  it.each(['gnu-tar-pax.tar', 'gnu-tar-gnu.tar', 'gnu-tar-sparse-old.tar'])(
    'tells the same of %s whatever the size of the chunks',
    (name) => {
      const archive = fixture(name);
      const whole = events([archive]);
      for (const size of [1, 2, 3, 7, 511, 512, 513, 1024, 4095, 65_536]) {
        expect(events(chunksOf(archive, size)), `chunks of ${size}`).toEqual(whole);
      }
    },
  );

  it('tells the same for any split', () => {
    const archive = fixture('gnu-tar-pax.tar');
    const whole = events([archive]);
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: archive.length }), { maxLength: 40 }), (cuts) => {
        const sorted = [0, ...cuts.sort((a, b) => a - b), archive.length];
        const chunks = sorted.slice(1).map((end, i) => archive.subarray(sorted[i], end));
        expect(events(chunks)).toEqual(whole);
      }),
      { numRuns: 100 },
    );
  });
});

const NOTHING = { member() {}, content() {}, memberEnd() {}, end() {} };

describe('TarScanner and damage', () => {
  it.each(['gnu-tar-pax.tar', 'gnu-tar-gnu.tar', 'python-pax.tar'])(
    'never takes %s for whole where it is cut',
    (name) => {
      const archive = fixture(name);
      const needed = scan([archive]).offset;
      for (let length = 0; length < needed; length++) {
        const scanner = new TarScanner(NOTHING);
        scanner.push(archive.subarray(0, length));
        let error: unknown;
        try {
          scanner.finish();
        } catch (thrown) {
          error = thrown;
        }
        if (!(error instanceof TarError)) expect.fail(`${length} bytes of ${name} count as whole: ${error}`);
      }
      expect(scan([archive.subarray(0, needed)]).ended).toBe(true);
    },
  );

  it('refuses a header with any bit flipped', () => {
    const archive = Buffer.concat([member({ name: 'a' }, Buffer.from('x')), END]);
    for (let bit = 0; bit < 512 * 8; bit++) {
      const copy = Buffer.from(archive);
      copy[bit >> 3] = (copy[bit >> 3] as number) ^ (1 << (bit & 7));
      // The checksum field itself: a digit may become the space that counts the same.
      if (bit >> 3 >= 148 && bit >> 3 < 156) continue;
      expect(() => scan([copy]), `bit ${bit}`).toThrow(TarError);
    }
  });

  it('refuses a lone zero block inside the archive, and one at its end', () => {
    const zero = Buffer.alloc(512);
    expect(() => scan([Buffer.concat([member({}), zero, member({}), END])])).toThrow(/lone zero block/);
    expect(() => scan([Buffer.concat([member({}), zero])])).toThrow(/cut off/);
  });

  it('ignores what follows the end mark', () => {
    const { members, offset } = scan([Buffer.concat([member({}), END, Buffer.alloc(9000, 'x')])]);
    expect([members.length, offset]).toEqual([1, 512 + 1024]);
  });

  it('takes the two zero blocks alone for an empty archive', () => {
    expect(scan([END])).toMatchObject({ members: [], ended: true });
  });

  it('refuses an extended header that says it is huge, before its bytes come', () => {
    for (const type of ['x', 'g', 'L', 'K']) {
      const block = headerBlock({ type, size: 17 * 1024 * 1024 });
      expect(() => scan([block], false), type).toThrow(/too large/);
    }
  });

  it('refuses a chain of extended headers that is huge as a whole', () => {
    const record = paxHeader(paxRecord('comment', 'x'.repeat(6 * 1024 * 1024)));
    expect(() => scan([record, record, record, record], false)).toThrow(/too large/);
  });

  it('refuses an extended header without its member', () => {
    expect(() => scan([Buffer.concat([paxHeader(paxRecord('path', 'x')), END])])).toThrow(TarError);
  });

  it('refuses members of unknown type', () => {
    for (const type of ['A', 'M', 'N', '8', '\x01']) {
      expect(() => scan([Buffer.concat([member({ type }), END])]), type).toThrow(TarError);
    }
  });

  it.each(['size', 'uid'])('refuses a negative %s', (field) => {
    for (const low of [0xff, 0xfe, 0x00]) {
      const length = field === 'size' ? 12 : 8;
      const value = Buffer.alloc(length, 0xff);
      value[length - 1] = low;
      for (const type of ['0', 'x']) {
        if (field === 'uid' && type === 'x') continue;
        const archive = Buffer.concat([headerBlock({ [field]: value, type }), member({}), END]);
        for (const size of [1, 512, archive.length]) {
          expect(() => scan(chunksOf(archive, size)), `${type} ${low} ${size}`).toThrow(TarError);
        }
      }
    }
  });

  it('refuses numbers beyond what it can count', () => {
    const huge = Buffer.from([0x80, 0, 0, 0, 0x7f, 255, 255, 255, 255, 255, 255, 255]);
    expect(() => scan([Buffer.concat([headerBlock({ size: huge }), END])])).toThrow(TarError);
    expect(() =>
      scan([Buffer.concat([paxHeader(paxRecord('size', '9007199254740993')), member({}), END])]),
    ).toThrow(TarError);
  });

  it.each([
    ['no length', 'path=x\n'],
    ['a length that is too short', '3 path=x\n'],
    ['a length that is too long', '99 path=x\n'],
    ['no equals sign', '8 pathx\n'],
    ['no newline', '9 path=xx'],
    ['a length in hex', '0xb path=x\n'],
    ['a negative length', '-9 path=x\n'],
    ['bytes after the records', '9 path=x\nrest'],
  ])('refuses a pax record with %s', (_, records) => {
    expect(() => scan([Buffer.concat([paxHeader(records), member({}), END])])).toThrow(TarError);
  });

  it.each([
    ['mtime', 'x'],
    ['mtime', ''],
    ['mtime', '1e3'],
    ['mtime', '9'.repeat(40)],
    ['size', '-1'],
    ['uid', 'root'],
    ['gid', '1.5'],
    ['path', 'a\0b'],
    ['linkpath', 'a\0b'],
  ])('refuses a pax record %s=%j', (key, value) => {
    const archive = Buffer.concat([paxHeader(paxRecord(key, value)), member({ type: '2', link: 'x' }), END]);
    expect(() => scan([archive])).toThrow(TarError);
  });

  it('refuses links without a target', () => {
    for (const type of ['1', '2']) {
      expect(() => scan([Buffer.concat([member({ type, link: '' }), END])]), type).toThrow(TarError);
    }
  });

  it('takes no time over a hostile number', () => {
    const started = performance.now();
    const records = paxRecord('mtime', `-${'9'.repeat(4_000_000)}.5`);
    expect(() => scan([Buffer.concat([paxHeader(records), member({}), END])])).toThrow(TarError);
    expect(performance.now() - started).toBeLessThan(1000);
  });
});

describe('TarScanner and arbitrary bytes', () => {
  /** Runs a scan; anything but success or TarError is a failure of the test. */
  function survives(chunks: Iterable<Buffer>): void {
    try {
      scan(chunks);
    } catch (error) {
      // The sparse hash of the test’s own sink raises RangeError where a map does not fit.
      if (!(error instanceof TarError) && !(error as Error).message.includes('sparse')) throw error;
    }
  }

  it('raises nothing but TarError', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 4096 }), fc.integer({ min: 1, max: 2000 }), (bytes, size) => {
        survives(chunksOf(Buffer.from(bytes), size));
      }),
      { numRuns: 500 },
    );
  });

  it('raises nothing but TarError where fields are arbitrary and checksums right', () => {
    const block = fc.uint8Array({ minLength: 512, maxLength: 512 }).map((b) => signed(Buffer.from(b)));
    const field = fc.uint8Array({ minLength: 12, maxLength: 12 });
    const plausible = fc
      .record({ type: fc.constantFrom(...'01234567xgLKSDV\0'), size: field, mtime: field, uid: field })
      .map(({ type, size, mtime, uid }) =>
        headerBlock({
          type,
          size: (size[0] ?? 0) < 200 ? (size[1] ?? 0) : Buffer.from(size),
          mtime: (mtime[0] ?? 0) < 128 ? '00000000001' : Buffer.from(mtime),
          uid: (uid[0] ?? 0) < 128 ? '0000001' : Buffer.from(uid.subarray(0, 8)),
        }),
      );
    const pax = fc
      .array(
        fc.tuple(
          fc.constantFrom(
            'path',
            'linkpath',
            'size',
            'mtime',
            'uid',
            'GNU.sparse.major',
            'GNU.sparse.realsize',
            'GNU.sparse.map',
            'GNU.sparse.name',
          ),
          fc.oneof(fc.constantFrom('1', '0', '512', '-1', '', '1.5'), fc.string({ maxLength: 20 })),
        ),
      )
      .map((records) =>
        paxHeader(Buffer.concat(records.map(([k, v]) => paxRecord(k, Buffer.from(v).toString('latin1'))))),
      );
    const content = fc.uint8Array({ minLength: 512, maxLength: 512 }).map((b) => Buffer.from(b));
    fc.assert(
      fc.property(
        fc.array(fc.oneof(plausible, pax, block, content, fc.constant(Buffer.alloc(512))), { maxLength: 12 }),
        fc.constantFrom(1, 500, 100_000),
        (blocks, size) => survives(chunksOf(Buffer.concat(blocks), size)),
      ),
      { numRuns: 1500 },
    );
  });

  it('raises nothing but TarError where bytes of a real archive are changed', () => {
    const archive = fixture('gnu-tar-pax.tar');
    const sparse = fixture('gnu-tar-sparse-old.tar').subarray(0, 20_000);
    const change = fc.tuple(fc.nat(19_999), fc.nat(255));
    fc.assert(
      fc.property(fc.boolean(), fc.array(change, { minLength: 1, maxLength: 8 }), (old, changes) => {
        const copy = Buffer.from(old ? sparse : archive);
        for (const [at, byte] of changes) copy[at] = byte;
        for (let at = 0; at + 512 <= copy.length; at += 512) {
          const block = copy.subarray(at, at + 512);
          if (block.toString('latin1', 257, 262) === 'ustar') signed(block);
        }
        survives([copy]);
      }),
      { numRuns: 500 },
    );
  });
});
