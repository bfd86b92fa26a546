import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { IndexMember } from '../../src/core/member.ts';
import { joinMembers } from '../../src/jobs/drill/compare.ts';
import { healthOf } from '../../src/jobs/drill/service.ts';
import { comparePaths } from '../../src/tar/names.ts';

function member(path: string, other: Partial<IndexMember> = {}): IndexMember {
  const fields = {
    type: 'file',
    size: 1,
    mode: 0o644,
    uid: 0,
    gid: 0,
    mtime: '1.000000000',
    span: 512,
  } as const;
  return { path, ...fields, sha256: 'a'.repeat(64), ...other };
}

async function* each<T>(items: readonly T[]): AsyncGenerator<T> {
  yield* items;
}

async function differences(expected: IndexMember[], found: IndexMember[]) {
  const list = [];
  for await (const item of joinMembers(each(expected), each(found))) list.push(item);
  return list;
}

describe('joinMembers', () => {
  it('says nothing of equal volumes, whatever their inodes and times of change', async () => {
    const a = [member('.', { type: 'dir' }), member('./a', { ino: 1, ctime: '5.000000000', nlink: 1 })];
    const b = [member('.', { type: 'dir' }), member('./a', { ino: 2, ctime: '6.000000000', nlink: 1 })];
    expect(await differences(a, b)).toEqual([]);
  });

  it('names each member that differs, and in what', async () => {
    const expected = [
      member('./a'),
      member('./a/b'),
      member('./a-b'),
      member('./l', { type: 'hardlink', link: './a' }),
    ];
    const found = [
      member('./a', { mode: 0o600, uid: 5 }),
      member('./a-b', { sha256: 'b'.repeat(64), size: 2 }),
      member('./k\u0007'),
      member('./l', { type: 'hardlink', link: './a-b' }),
    ];
    expect(await differences(expected, found)).toEqual([
      { path: './a', what: 'changed', fields: ['mode', 'uid'] },
      { path: './a/b', what: 'missing' },
      { path: './a-b', what: 'changed', fields: ['size', 'content'] },
      { path: './k\\u0007', what: 'extra' },
      { path: './l', what: 'changed', fields: ['link'] },
    ]);
  });

  it('finds just what two sets of names do not share', async () => {
    const names = fc.uniqueArray(fc.stringMatching(/^[a-c/.-]{1,4}$/), { maxLength: 12 });
    await fc.assert(
      fc.asyncProperty(names, names, async (a, b) => {
        const sorted = (list: string[]) =>
          list.map((name) => member(`./${name}`)).sort((x, y) => comparePaths(x.path, y.path));
        const found = await differences(sorted(a), sorted(b));
        const of = (what: string) =>
          found
            .filter((d) => d.what === what)
            .map(({ path }) => path.slice(2))
            .sort();
        expect(of('missing')).toEqual(a.filter((name) => !b.includes(name)).sort());
        expect(of('extra')).toEqual(b.filter((name) => !a.includes(name)).sort());
        expect(of('changed')).toEqual([]);
      }),
    );
  });
});

describe("an image's health check", () => {
  it.each([
    [['CMD', 'pg_isready', '-q'], { command: ['pg_isready', '-q'] }],
    [['CMD-SHELL', 'curl -f localhost || exit 1'], { command: 'curl -f localhost || exit 1' }],
    [['NONE'], undefined],
    [[], undefined],
    [undefined, undefined],
  ])('%j', (test, probe) => {
    expect(healthOf(test)).toEqual(probe);
  });
});
