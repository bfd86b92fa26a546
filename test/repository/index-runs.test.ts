import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { memberLine, memberLineStart } from '../../src/repository/index-lines.ts';
import { type IndexRun, IndexRunReader } from '../../src/repository/index-runs.ts';

const frameLine = (raw: number) => JSON.stringify({ frame: ['a'.repeat(64), 31, 100, raw, 'b'.repeat(64)] });
const member = (path: string, span: number) =>
  memberLine({ path, type: 'file', size: 0, mode: 420, uid: 0, gid: 0, mtime: '1.000000000', span });

function runsOf(lines: string[]): { runs: IndexRun[]; rest: IndexRun } {
  const reader = new IndexRunReader();
  const runs = lines.map((line) => reader.push(line)).filter((run) => run !== undefined);
  return { runs, rest: reader.finish() };
}

/** Runs as the format has them: members that cover whole frames; a large member is cut into several. */
const shapes = fc.array(
  fc.record({
    spans: fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 1, maxLength: 5 }),
    cuts: fc.nat(3),
  }),
  { maxLength: 20 },
);

describe('runs of an index', () => {
  it('are found where members cover whole frames, also where a frame begins inside a member', () => {
    fc.assert(
      fc.property(shapes, (shape) => {
        const lines = ['{"volume":"v","format":1,"cut":1}'];
        for (const [i, { spans, cuts }] of shape.entries()) {
          const total = spans.reduce((sum, span) => sum + span * 512, 0);
          const pieces = Math.min(cuts + 1, total / 512);
          const sizes = Array.from({ length: pieces }, (_, n) =>
            n === 0 ? total - (pieces - 1) * 256 : 256,
          );
          lines.push(frameLine(sizes[0] as number));
          for (const [n, span] of spans.entries()) lines.push(member(`./${i}-${n}`, span * 512));
          for (const size of sizes.slice(1)) lines.push(frameLine(size));
        }
        lines.push(frameLine(1024));
        const { runs, rest } = runsOf(lines);
        expect(runs.map((run) => run.members.length)).toEqual(shape.map(({ spans }) => spans.length));
        expect(runs.flatMap((run) => run.lines)).toEqual(lines.slice(1, -1));
        expect(rest).toMatchObject({ members: [], lines: [frameLine(1024)] });
      }),
    );
  });

  it('take the span of a member whose name looks like one', () => {
    const { runs } = runsOf([frameLine(1024), member('./x","span":7,"y', 1024), frameLine(1024)]);
    expect(runs).toHaveLength(1);
  });

  it.each(['{"frame":[]}', '{"path":"./a"}', '{"path":"./a","span":-5}', '{"path":"./a","span":"x"}'])(
    'refuse a damaged line: %s',
    (line) => {
      expect(() => runsOf([line])).toThrow(expect.objectContaining({ code: 'INTEGRITY' }));
    },
  );
});

describe('the beginning of a member line', () => {
  const listed = {
    size: 5,
    mode: 420,
    uid: 1,
    gid: 2,
    mtime: '3.000000000',
    ctime: '4.000000001',
    ino: 9,
    nlink: 2,
  };
  const parts = {
    mode: 420,
    uid: 1,
    gid: 2,
    mtime: '3.000000000',
    ctime: '4.000000001',
    ino: 9,
    nlink: 2,
    span: 1024,
  };

  it.each(['./a', './"quoted"', './\xff\xfe', './Ã¤'])('is that of the line that was written: %s', (path) => {
    const file = memberLine({ path, type: 'file', size: 5, ...parts, sha256: 'c'.repeat(64) });
    expect(file.startsWith(memberLineStart({ ...listed, path, type: 'file' }, false))).toBe(true);
    expect(file.startsWith(memberLineStart({ ...listed, path, type: 'file', size: 6 }, false))).toBe(false);
    const link = memberLine({ path, type: 'hardlink', size: 0, ...parts, link: './0' });
    expect(link.startsWith(memberLineStart({ ...listed, path, type: 'file' }, true))).toBe(true);
    const fifo = memberLine({ path, type: 'fifo', size: 0, ...parts });
    expect(fifo.startsWith(memberLineStart({ ...listed, path, type: 'fifo' }, false))).toBe(true);
  });
});
