import { createHash } from 'node:crypto';
import { ContentChunker, WHOLE_CONTENT } from '../../repository/chunker.ts';

/**
 * Cuts a stream of unknown length into frames as the content of a large file is cut (docs/format.md, "Runs"): up to 1 MiB
 * is one frame, more goes through the chunker. At most one frame, 2 MiB, is held.
 */
export class ContentFrames {
  readonly #chunker = new ContentChunker();
  readonly #hash = createHash('sha256');
  readonly #emit: (frame: Buffer) => void;
  #parts: Buffer[] = [];
  #held = 0;
  #chunked = false;
  /** Bytes so far. */
  size = 0;

  /** `emit` owns the frame it is given. */
  constructor(emit: (frame: Buffer) => void) {
    this.#emit = emit;
  }

  push(bytes: Buffer): void {
    this.size += bytes.length;
    this.#hash.update(bytes);
    if (!this.#chunked && this.#held + bytes.length <= WHOLE_CONTENT) {
      this.#hold(bytes);
      return;
    }
    const before = this.#chunked ? [] : this.#take();
    this.#chunked = true;
    for (const part of [...before, bytes]) this.#cut(part);
  }

  /** The content's SHA-256, and what is left: the last frame, or all of it where it is short. */
  end(): { sha256: string; rest: Buffer } {
    return { sha256: this.#hash.digest('hex'), rest: Buffer.concat(this.#take()) };
  }

  #cut(bytes: Buffer): void {
    let at = 0;
    while (at < bytes.length) {
      const end = this.#chunker.cut(bytes, at);
      this.#hold(bytes.subarray(at, end < 0 ? bytes.length : end));
      if (end < 0) return;
      this.#emit(Buffer.concat(this.#take()));
      at = end;
    }
  }

  /** A copy: what the engine sends is only valid until its next part. */
  #hold(bytes: Buffer): void {
    this.#parts.push(Buffer.from(bytes));
    this.#held += bytes.length;
  }

  #take(): Buffer[] {
    const parts = this.#parts;
    this.#parts = [];
    this.#held = 0;
    return parts;
  }
}
