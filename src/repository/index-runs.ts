import { VolbakError } from '../core/errors.ts';
import { type FetchOptions, fetchIndexFrames } from './fetch.ts';
import type { FrameRef } from './frame-ref.ts';
import { isFrameLine, parseIndexLine } from './index-lines.ts';

/** Members of an index and the frames that hold exactly these: the smallest part that another index can take over. */
export interface IndexRun {
  /** The lines as they stand in the index, frames and members in their order. */
  lines: string[];
  /** Those of the lines that are members. */
  members: string[];
  frames: FrameRef[];
}

const HEAD_LINE = '{"volume":';
/** A member's `span`. Inside a JSON string the quotes would be escaped, so this is no part of a name. */
const SPAN = ',"span":';

/** Cuts the lines of an index into runs: a run is whole where its members cover exactly its frames. */
export class IndexRunReader {
  #run: IndexRun = emptyRun();
  #raw = 0;
  #span = 0;

  /** Takes the next line; returns the run that ended before it, if one did. Raises INTEGRITY. */
  push(line: string): IndexRun | undefined {
    if (isFrameLine(line)) return this.#frame(line);
    if (line.startsWith(HEAD_LINE)) return undefined;
    this.#run.members.push(line);
    this.#run.lines.push(line);
    this.#span += spanOf(line);
    return undefined;
  }

  /** What is left after the last line: the frame of two zero blocks, which holds no member. */
  finish(): IndexRun {
    return this.#take();
  }

  #frame(line: string): IndexRun | undefined {
    const parsed = parseIndexLine(line);
    if (parsed.kind !== 'frame') throw damaged();
    const ended = this.#run.members.length > 0 && this.#span === this.#raw ? this.#take() : undefined;
    this.#run.lines.push(line);
    this.#run.frames.push(parsed.frame);
    this.#raw += parsed.frame[3];
    return ended;
  }

  #take(): IndexRun {
    const run = this.#run;
    this.#run = emptyRun();
    this.#raw = 0;
    this.#span = 0;
    return run;
  }
}

function emptyRun(): IndexRun {
  return { lines: [], members: [], frames: [] };
}

function spanOf(line: string): number {
  const at = line.indexOf(SPAN);
  const span = at < 0 ? Number.NaN : Number.parseInt(line.slice(at + SPAN.length, at + SPAN.length + 17), 10);
  if (!Number.isSafeInteger(span) || span < 0) throw damaged();
  return span;
}

function damaged(): VolbakError {
  return new VolbakError('INTEGRITY', 'a line of an index is damaged');
}

/**
 * The runs of an index in order, streamed in the batches in which they arrive. The last run of the last batch holds no
 * member: the end of the tar. Raises INTEGRITY.
 */
export async function* readIndexRuns(
  index: readonly FrameRef[],
  options: FetchOptions,
): AsyncGenerator<IndexRun[]> {
  const reader = new IndexRunReader();
  for await (const raw of fetchIndexFrames(index, options)) {
    const runs: IndexRun[] = [];
    const lines = Buffer.from(raw.buffer, raw.byteOffset, raw.byteLength).toString('utf8').split('\n');
    // Frames of an index end at line ends, so the last piece is empty.
    if (lines.at(-1) === '') lines.pop();
    for (const line of lines) {
      const run = reader.push(line);
      if (run) runs.push(run);
    }
    if (runs.length > 0) yield runs;
  }
  yield [reader.finish()];
}
