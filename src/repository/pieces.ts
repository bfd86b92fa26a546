import type { IndexMember } from '../core/member.ts';
import { readAhead } from '../core/read-ahead.ts';
import { type FetchOptions, fetchGroup, groupFrames } from './fetch.ts';
import type { FrameRef } from './frame-ref.ts';
import type { IndexLine } from './index-lines.ts';

/** Part of a frame that a selection needs, in raw bytes. */
export interface Piece {
  ref: FrameRef;
  from: number;
  to: number;
}

/**
 * The parts of a volume's frames that hold the selected members, in the order of the tar: nothing else has to be
 * fetched. `lines` is the volume's index.
 */
export async function* selectPieces(
  lines: AsyncIterable<IndexLine>,
  selected: (member: IndexMember) => boolean,
): AsyncGenerator<Piece> {
  let frame: { ref: FrameRef; start: number } | undefined;
  let frameEnd = 0;
  let position = 0;
  let ranges: { from: number; to: number }[] = [];
  const pieces = function* (current: { ref: FrameRef; start: number }, end: number): Generator<Piece> {
    for (const range of ranges) {
      const from = Math.max(range.from, current.start);
      const to = Math.min(range.to, end);
      if (from < to) yield { ref: current.ref, from: from - current.start, to: to - current.start };
    }
    ranges = ranges.filter((range) => range.to > end);
  };
  for await (const line of lines) {
    if (line.kind === 'frame') {
      if (frame) yield* pieces(frame, frameEnd);
      frame = { ref: line.frame, start: frameEnd };
      frameEnd += line.frame[3];
    } else if (line.kind === 'member') {
      const { span } = line.member;
      if (selected(line.member)) {
        const last = ranges.at(-1);
        if (last?.to === position) last.to += span;
        else ranges.push({ from: position, to: position + span });
      }
      position += span;
    }
  }
  if (frame) yield* pieces(frame, frameEnd);
}

/** The bytes of pieces, fetched and decoded ahead, in order. Raises INTEGRITY. */
export async function* fetchPieces(
  pieces: AsyncIterable<Piece>,
  options: FetchOptions,
): AsyncGenerator<Uint8Array> {
  const waiting: Piece[] = [];
  const refs = async function* () {
    let last: FrameRef | undefined;
    for await (const piece of pieces) {
      waiting.push(piece);
      // Several pieces of one frame: it is fetched once.
      if (piece.ref !== last) yield piece.ref;
      last = piece.ref;
    }
  };
  const groups = readAhead(
    groupFrames(refs()),
    options.parallel ?? options.pool.width + 1,
    async (group) => ({
      group,
      raw: await fetchGroup(group, options),
    }),
  );
  for await (const { group, raw } of groups) {
    let start = 0;
    for (const ref of group.frames) {
      while (waiting[0]?.ref === ref) {
        const { from, to } = waiting.shift() as Piece;
        yield raw.subarray(start + from, start + to);
      }
      start += ref[3];
    }
  }
}
