import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isVolbakError } from '../../src/core/errors.ts';
import type { IndexMember, MemberType } from '../../src/core/member.ts';
import { memberLine, parseIndexLine } from '../../src/repository/index-lines.ts';

const hex64 = fc.stringMatching(/^[0-9a-f]{64}$/);
const count = fc.nat(Number.MAX_SAFE_INTEGER);
const name = fc.oneof(
  fc
    .uint8Array({ minLength: 1, maxLength: 40 })
    .map((b) => Buffer.from(b.map((x) => x || 1)).toString('latin1')),
  fc
    .string({ unit: 'binary', minLength: 1 })
    .map((s) => Buffer.from(s.replaceAll('\0', 'x')).toString('latin1')),
  fc.constantFrom(
    '__proto__',
    '"',
    '\\',
    '\n',
    '{"frame":1}',
    '\xff',
    Buffer.from('\u2028').toString('latin1'),
    '..',
    ' ',
  ),
);
const time = fc
  .tuple(fc.bigInt({ min: -(2n ** 62n), max: 2n ** 62n }), fc.nat(999_999_999))
  .map(([s, ns]) => `${s}.${String(ns).padStart(9, '0')}`);
const optional = <T>(arb: fc.Arbitrary<T>) => fc.option(arb, { nil: undefined });

const member: fc.Arbitrary<IndexMember> = fc
  .record({
    path: fc.oneof(
      fc.constant('.'),
      name.map((n) => `./${n}`),
    ),
    type: fc.constantFrom<MemberType>('file', 'dir', 'symlink', 'hardlink', 'fifo', 'char', 'block'),
    size: count,
    mode: fc.nat(0o7777),
    uid: fc.nat(2 ** 32 - 2),
    gid: fc.nat(2 ** 32 - 2),
    mtime: time,
    span: count,
    listed: optional(fc.record({ ctime: time, ino: count, nlink: fc.integer({ min: 1, max: 1e9 }) })),
    link: optional(name),
    device: optional(fc.constantFrom('1:3', '4095:1048575')),
    xattrs: optional(hex64),
    sha256: optional(hex64),
    suspect: optional(fc.constant(true as const)),
  })
  .map(({ listed, ...m }) => {
    const made = { ...m, ...listed, size: m.type === 'file' ? m.size : 0 };
    return Object.fromEntries(
      Object.entries(made).filter(([, v]) => v !== undefined),
    ) as unknown as IndexMember;
  });

describe('index lines', () => {
  it('bring any member back, with names of any bytes', () => {
    fc.assert(
      fc.property(member, (m) => {
        const line = memberLine(m);
        expect(line).not.toContain('\n');
        expect(parseIndexLine(line)).toEqual({ kind: 'member', member: m });
      }),
      { numRuns: 2000 },
    );
  });

  it('are equal bytes for equal members, in whatever order their fields were set', () => {
    fc.assert(
      fc.property(member, (m) => {
        const reversed = Object.fromEntries(Object.entries(m).reverse()) as unknown as IndexMember;
        expect(memberLine(reversed)).toBe(memberLine(m));
      }),
    );
  });

  it('have the form of format 1', () => {
    const m: IndexMember = {
      path: './base/1',
      type: 'file',
      size: 8192,
      mode: 0o600,
      uid: 70,
      gid: 71,
      mtime: '1700000000.123456789',
      ctime: '1700000001.000000000',
      ino: 77,
      nlink: 1,
      span: 9728,
      sha256: 'a'.repeat(64),
    };
    expect(memberLine(m)).toBe(
      `{"path":"./base/1","type":"file","size":8192,"mode":384,"uid":70,"gid":71,"mtime":"1700000000.123456789","ctime":"1700000001.000000000","ino":77,"nlink":1,"span":9728,"sha256":"${'a'.repeat(64)}"}`,
    );
    expect(JSON.parse(memberLine({ ...m, path: './\xff' }))).toMatchObject({ path64: 'Li//' });
  });

  it('hold frames and the head', () => {
    const frame = ['a'.repeat(64), 31, 100, 200, 'b'.repeat(64)];
    expect(parseIndexLine(JSON.stringify({ frame }))).toEqual({ kind: 'frame', frame });
    const head = { volume: 'pg\u00fcdata', format: 1, cut: 1 };
    expect(parseIndexLine(JSON.stringify(head))).toEqual({ kind: 'head', head });
  });
});

describe('damaged index lines', () => {
  const good = {
    path: './a',
    type: 'file',
    size: 1,
    mode: 420,
    uid: 0,
    gid: 0,
    mtime: '1.000000000',
    span: 512,
  };
  const h = 'a'.repeat(64);

  it('are INTEGRITY in every field', () => {
    expect(parseIndexLine(JSON.stringify(good)).kind).toBe('member');
    const wrong: Record<string, unknown>[] = [
      { path: undefined },
      { path: '' },
      { path: 'a' },
      { path: '/a' },
      { path: './a\0b' },
      { path: 5 },
      { path64: '' },
      { path64: 'AAAA' },
      { type: 'socket' },
      { type: undefined },
      { size: -1 },
      { size: 1.5 },
      { size: '1' },
      { size: 2 ** 53 },
      { size: undefined },
      { mode: -1 },
      { uid: null },
      { gid: 1e300 },
      { mtime: '1' },
      { mtime: 1 },
      { mtime: '1.5' },
      { mtime: `${'9'.repeat(30)}.000000000` },
      { span: undefined },
      { link: '' },
      { link: 'a\0' },
      { ctime: '1.000000000' },
      { ctime: 5, ino: 1, nlink: 1 },
      { sha256: 'A'.repeat(64) },
      { sha256: 'a' },
      { xattrs: 5 },
      { device: 5 },
    ];
    for (const change of wrong) {
      const line = JSON.stringify({ ...good, ...change });
      expect(() => parseIndexLine(line), line).toThrow(expect.objectContaining({ code: 'INTEGRITY' }));
    }
  });

  it('are INTEGRITY where a frame is none', () => {
    const frames: unknown[] = [
      null,
      [],
      [h, 0, 1, 1],
      [h, 0, 1, 1, h, 1],
      ['x', 0, 1, 1, h],
      [`../${h}`, 0, 1, 1, h],
      [h, -1, 1, 1, h],
      [h, 0.5, 1, 1, h],
      [h, 0, 0, 1, h],
      [h, 0, 1, 0, h],
      [h, 0, 1, 2 * 1024 * 1024 + 1, h],
      [h, 0, 3 * 1024 * 1024, 1, h],
      [h, 0, 1, 1, h.toUpperCase()],
    ];
    for (const frame of frames) {
      const line = JSON.stringify({ frame });
      expect(() => parseIndexLine(line), line).toThrow(expect.objectContaining({ code: 'INTEGRITY' }));
    }
  });

  it('raise nothing but INTEGRITY, whatever they are', () => {
    const survives = (line: string) => {
      try {
        parseIndexLine(line);
      } catch (error) {
        if (!isVolbakError(error, 'INTEGRITY')) throw error;
      }
    };
    fc.assert(fc.property(fc.string(), survives), { numRuns: 1000 });
    fc.assert(fc.property(fc.json(), survives), { numRuns: 1000 });
    const keys = [
      ...Object.keys(good),
      'frame',
      'volume',
      'link',
      'link64',
      'path64',
      'ctime',
      'ino',
      'device',
    ];
    const change = fc.tuple(fc.constantFrom(...keys), fc.jsonValue());
    fc.assert(
      fc.property(fc.array(change), (changes) =>
        survives(JSON.stringify({ ...good, ...Object.fromEntries(changes) })),
      ),
      { numRuns: 2000 },
    );
    const line = JSON.stringify(good);
    for (let i = 0; i < line.length; i++) survives(line.slice(0, i));
  });
});
