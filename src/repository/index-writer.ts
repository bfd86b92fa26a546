import { VolbakError } from '../core/errors.ts';
import type { FrameTable } from '../core/frame-table.ts';
import type { IndexMember } from '../core/member.ts';
import { type FrameHandle, resolveHandle } from './frame-handle.ts';
import type { FrameRef } from './frame-ref.ts';
import { isFrameLine, memberLine, parseMemberLine } from './index-lines.ts';
import type { IndexRun } from './index-runs.ts';
import type { SegmentNames } from './segments.ts';

/** A member whose content may still be on its way. */
export interface PendingMember {
  member: IndexMember;
  ready: boolean;
}

/** Runs of another index, taken over as they are. Called once in the order of what was queued, never two at a time. */
export type TakeRuns = () => AsyncIterable<IndexRun>;

const FRAME_MIN = 32 * 1024;
const FRAME_MAX = 256 * 1024;
/** One line in 128 may end an index frame. */
const CUT_MASK = 127;

export interface IndexWriterOptions {
  volume: string;
  table: FrameTable;
  names: SegmentNames;
  /** 32-bit hash of a path that decides where index frames end. */
  pathHash(path: string): number;
  /** Takes one finished index frame (raw NDJSON, whole lines). What it returns is waited for before more is written. */
  emit(raw: Buffer): Promise<void> | undefined;
  /** Each member as it is written, in order. */
  onMember(member: IndexMember): void;
}

/**
 * Writes one volume's index. Lines wait while they are not known in full: a frame's until its segment has a name,
 * a large file's until its content was read. A waiting frame costs a few bytes, so a terabyte can wait.
 */
export class IndexWriter {
  readonly #options: IndexWriterOptions;
  #queue: (FrameHandle | PendingMember | TakeRuns)[] = [];
  #head = 0;
  #lines: string[] = [];
  #length = 0;
  #full: Promise<void> | undefined;
  readonly #segments = new Set<string>();
  entries = 0;
  tarBytes = 0;
  /** Frame lines written so far. */
  frames = 0;

  constructor(options: IndexWriterOptions) {
    this.#options = options;
    this.#line(JSON.stringify({ volume: options.volume, format: 1, cut: 1 }), 1);
  }

  /** Names of the segments that the lines written so far need. */
  get segments(): ReadonlySet<string> {
    return this.#segments;
  }

  frame(handle: FrameHandle): void {
    this.#queue.push(handle);
  }

  member(pending: PendingMember): void {
    this.#queue.push(pending);
  }

  /** Here stand runs of another index. They are not asked for before all that stands before them is written. */
  take(runs: TakeRuns): void {
    this.#queue.push(runs);
  }

  /** Writes all lines that are known by now. Not to be called again before it has ended. */
  async flush(): Promise<void> {
    for (; this.#head < this.#queue.length; this.#head++) {
      await this.#room();
      const next = this.#queue[this.#head] as FrameHandle | PendingMember | TakeRuns;
      if (typeof next === 'function') {
        await this.#takeAll(next);
      } else if (typeof next === 'object' && 'member' in next) {
        if (!next.ready) break;
        this.#memberLine(next.member, memberLine(next.member));
      } else {
        const ref = resolveHandle(next, this.#options.table, this.#options.names);
        if (!ref) break;
        this.#frameLine(ref);
      }
    }
    if (this.#head > 4096 || this.#head === this.#queue.length) {
      this.#queue = this.#queue.slice(this.#head);
      this.#head = 0;
    }
  }

  /** Lines that still wait. */
  get waiting(): number {
    return this.#queue.length - this.#head;
  }

  /** Ends the index. All frames' segments must have names by now. */
  async finish(): Promise<void> {
    await this.flush();
    if (this.waiting > 0)
      throw new VolbakError('UNEXPECTED', 'an index was ended before its frames were written');
    this.#emit();
  }

  /** Waits while too much of the index is on its way. */
  async #room(): Promise<void> {
    if (!this.#full) return;
    await this.#full;
    this.#full = undefined;
  }

  async #takeAll(runs: TakeRuns): Promise<void> {
    for await (const { lines, frames } of runs()) {
      await this.#room();
      let frame = 0;
      for (const text of lines) {
        if (isFrameLine(text)) this.#frameLine(frames[frame++] as FrameRef, text);
        else this.#memberLine(parseMemberLine(text), text);
      }
    }
  }

  #frameLine(ref: FrameRef, line = JSON.stringify({ frame: ref })): void {
    this.frames++;
    this.#segments.add(ref[0]);
    this.tarBytes += ref[3];
    this.#line(line, Number.parseInt(ref[4].slice(0, 8), 16));
  }

  #memberLine(member: IndexMember, line: string): void {
    this.entries++;
    this.#options.onMember(member);
    this.#line(line, this.#options.pathHash(member.path));
  }

  #line(line: string, hash: number): void {
    this.#lines.push(line);
    this.#length += line.length + 1;
    if (this.#length >= FRAME_MAX || (this.#length >= FRAME_MIN && (hash & CUT_MASK) === 0)) this.#emit();
  }

  #emit(): void {
    if (this.#lines.length === 0) return;
    this.#full = this.#options.emit(Buffer.from(`${this.#lines.join('\n')}\n`, 'utf8'));
    this.#lines = [];
    this.#length = 0;
  }
}
