import { createHash, type Hash } from 'node:crypto';
import type { ContentBatch } from './messages.ts';

/** Hashes contents that are cut into several frames, as batches of them pass by. */
export class ContentDigests {
  /** Contents under way, by stream. */
  readonly #open = new Map<number, Hash>();

  /** SHA-256, in hex, of the contents that end in this batch, in order. */
  take({ stream, bytes, frames, contents }: ContentBatch): string[] {
    const digests: string[] = [];
    let content = this.#open.get(stream);
    for (const frame of contents) {
      content ??= createHash('sha256');
      if (frame < 0) {
        digests.push(content.digest('hex'));
        content = undefined;
      } else {
        const offset = frames[frame * 2] as number;
        content.update(bytes.subarray(offset, offset + (frames[frame * 2 + 1] as number)));
      }
    }
    if (content) this.#open.set(stream, content);
    else this.#open.delete(stream);
    return digests;
  }
}
