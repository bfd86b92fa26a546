import type { IndexMember } from '../../core/member.ts';
import type { FrameSink } from './framer.ts';
import type { HashFrom, Item, ReaderReply } from './messages.ts';
import { freeSlab, SLAB_SIZE, type SlabMemory, takeSlab } from './slabs.ts';

/** A batch goes out when it has this many bytes or items. */
const BATCH_BYTES = 3 * 1024 * 1024;
const BATCH_ITEMS = 4096;

/**
 * Gathers frames and members into batches of a few MiB: one message a frame would cost more than the frame.
 * Without slabs (`memory` undefined) frames' bytes are dropped and only members go out.
 */
export class Batcher implements FrameSink {
  readonly #memory: SlabMemory | undefined;
  readonly #send: (reply: ReaderReply) => void;
  #slab = -1;
  #bytes: Buffer = Buffer.alloc(0);
  /** Where the frame under way begins and ends in the slab. */
  #start = 0;
  #end = 0;
  #frames: number[] = [];
  #contents: number[] = [];
  #firstFrame = 0;
  #items: Item[] = [];
  /** Members that begin in the frame under way: they come after its number. */
  #waiting: Item[] = [];
  /** The member being read, while its item is still here. */
  #open: ({ member: IndexMember; done: boolean } & HashFrom) | undefined;
  #total = 0;

  constructor(memory: SlabMemory | undefined, send: (reply: ReaderReply) => void) {
    this.#memory = memory;
    this.#send = send;
    if (memory) this.#nextSlab();
  }

  write(bytes: Buffer): void {
    this.#total += bytes.length;
    if (!this.#memory) return;
    if (this.#end + bytes.length > SLAB_SIZE) this.#moveOn();
    bytes.copy(this.#bytes, this.#end);
    this.#end += bytes.length;
  }

  cut(ofContent: boolean): void {
    if (this.#memory) {
      if (ofContent) this.#contents.push(this.#frames.length / 2);
      this.#items.push(this.#frames.length / 2);
      this.#frames.push(this.#start, this.#end - this.#start);
      this.#start = this.#end;
    }
    for (const item of this.#waiting) this.#items.push(item);
    this.#waiting = [];
    if (this.#start >= BATCH_BYTES || this.#items.length >= BATCH_ITEMS) this.#ship();
  }

  member(member: IndexMember): void {
    this.#open = { member, done: false };
    this.#waiting.push(this.#open);
  }

  memberDone(member: IndexMember, hashFrom: HashFrom): void {
    if (hashFrom.cut) this.#contents.push(-1);
    if (this.#open) {
      Object.assign(this.#open, hashFrom, { done: true });
      this.#open = undefined;
      return;
    }
    const { sha256, span } = member;
    this.#items.push({ ...hashFrom, span, ...(sha256 === undefined ? {} : { sha256 }) });
  }

  gap(upTo: number): void {
    this.#items.push({ upTo });
  }

  /** Sends what is left, and holds no slab any more. */
  finish(missing: string[], missingCount: number): void {
    if (this.#items.length > 0) this.#post();
    else if (this.#memory) freeSlab(this.#memory, this.#slab);
    this.#send({ kind: 'end', bytes: this.#total, missing, missingCount });
  }

  #ship(): void {
    if (this.#items.length === 0) return;
    this.#post();
    if (this.#memory) {
      const unfinished = Buffer.from(this.#bytes.subarray(this.#start, this.#end));
      this.#nextSlab();
      unfinished.copy(this.#bytes);
      this.#end = unfinished.length;
    }
  }

  #post(): void {
    const frames = Uint32Array.from(this.#frames);
    const slab = this.#slab;
    this.#send({
      kind: 'batch',
      slab,
      frames,
      contents: Int32Array.from(this.#contents),
      firstFrame: this.#firstFrame,
      items: this.#items,
      bytes: this.#total,
    });
    this.#firstFrame += frames.length / 2;
    this.#frames = [];
    this.#contents = [];
    this.#items = [];
    // What is told of the open member after this goes out as an item of its own, unless it still waits here.
    if (this.#open && !this.#waiting.includes(this.#open)) this.#open = undefined;
  }

  /** The frame under way does not fit: what is whole goes out, and it moves to the next slab. */
  #moveOn(): void {
    if (this.#items.length > 0) {
      this.#ship();
      return;
    }
    this.#bytes.copy(this.#bytes, 0, this.#start, this.#end);
    this.#end -= this.#start;
    this.#start = 0;
  }

  #nextSlab(): void {
    const memory = this.#memory as SlabMemory;
    this.#slab = (this.#slab + 1) % memory.slabs.length;
    this.#bytes = takeSlab(memory, this.#slab);
    this.#start = 0;
    this.#end = 0;
  }
}
