import { VolbakError } from '../../core/errors.ts';
import { PulledAhead } from '../../core/pulled-ahead.ts';
import { breathe } from '../../core/sleep.ts';
import type { FetchOptions } from '../../repository/fetch.ts';
import type { FrameRef } from '../../repository/frame-ref.ts';
import { parseMemberLine } from '../../repository/index-lines.ts';
import { type IndexRun, readIndexRuns } from '../../repository/index-runs.ts';

/** Lines of an index read ahead: some 40 MB. */
const LINES_AHEAD = 150_000;

/** The runs of an index, read before they are asked for. Raises INTEGRITY. */
export function readRunsAhead(index: readonly FrameRef[], options: FetchOptions): PulledAhead<IndexRun[]> {
  const lines = (runs: IndexRun[]) => runs.reduce((sum, run) => sum + run.lines.length, 0);
  const stop = new AbortController();
  const signal = options.signal ? AbortSignal.any([options.signal, stop.signal]) : stop.signal;
  return new PulledAhead(readIndexRuns(index, { ...options, signal }), lines, LINES_AHEAD, stop);
}

/** Goes through the runs of a parent's index, one after another. */
export class ParentRuns {
  readonly #batches: AsyncGenerator<IndexRun[]>;
  readonly #onFrame: (ref: FrameRef) => void;
  #batch: IndexRun[] = [];
  #at = -1;
  #firstPath: string | undefined;
  /** Number of the current run, from 0. */
  number = 0;
  /** The run under the cursor; undefined where `load` must be called, or at the end. */
  current: IndexRun | undefined;

  /** `onFrame` is told every frame of the parent, also those of runs that are passed by. */
  constructor(batches: AsyncGenerator<IndexRun[]>, onFrame: (ref: FrameRef) => void) {
    this.#batches = batches;
    this.#onFrame = onFrame;
  }

  /** Path of the current run's first member. */
  get firstPath(): string {
    if (this.#firstPath === undefined) {
      this.#firstPath = parseMemberLine(this.current?.members[0] ?? '').path;
    }
    return this.#firstPath;
  }

  /** Fetches on until there is a current run, or none any more. */
  async load(): Promise<void> {
    while (!this.current) {
      const { value, done } = await this.#batches.next();
      if (done) return;
      await breathe();
      for (const run of value) for (const ref of run.frames) this.#onFrame(ref);
      // The end of the tar is no run; it is the last of all.
      this.#batch = value.filter((run) => run.members.length > 0);
      this.#at = -1;
      this.#step();
    }
  }

  advance(): void {
    this.number++;
    this.#step();
  }

  /** Goes to the end; the number of runs. */
  async finish(): Promise<number> {
    for (;;) {
      if (!this.current) await this.load();
      if (!this.current) return this.number;
      this.advance();
    }
  }

  #step(): void {
    this.#firstPath = undefined;
    this.current = this.#batch[++this.#at];
  }
}

/** The runs that a plan takes over, gone through a second time as the new index comes to where they stand. */
export class ReusedRuns {
  readonly #batches: AsyncGenerator<IndexRun[]>;
  readonly #ranges: Uint32Array;
  #batch: IndexRun[] = [];
  #at = 0;
  #number = 0;
  #range = 0;

  /** `ranges`: pairs of a first run and how many. */
  constructor(batches: AsyncGenerator<IndexRun[]>, ranges: Uint32Array) {
    this.#batches = batches;
    this.#ranges = ranges;
  }

  /** The runs of all ranges before the one of number `end` that were not given yet. */
  async *upTo(end: number): AsyncGenerator<IndexRun> {
    for (; this.#range < Math.min(end, this.#ranges.length / 2); this.#range++) {
      const first = this.#ranges[this.#range * 2] as number;
      const count = this.#ranges[this.#range * 2 + 1] as number;
      while (this.#number < first) await this.#next();
      for (let n = 0; n < count; n++) yield await this.#next();
    }
    // What is left of them is not needed, and may be held in memory.
    if (this.#range === this.#ranges.length / 2) await this.close();
  }

  async close(): Promise<void> {
    await this.#batches.return(undefined);
  }

  async #next(): Promise<IndexRun> {
    while (this.#at >= this.#batch.length) {
      const { value, done } = await this.#batches.next();
      if (done) throw damaged();
      this.#batch = value;
      this.#at = 0;
    }
    this.#number++;
    return this.#batch[this.#at++] as IndexRun;
  }
}

function damaged(): VolbakError {
  return new VolbakError('INTEGRITY', "the parent's index is damaged");
}
