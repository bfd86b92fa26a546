import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { ContentDigests } from '../../src/codec/content-digests.ts';
import type { IndexMember } from '../../src/core/member.ts';
import { Batcher } from '../../src/jobs/read/batcher.ts';
import { Framer } from '../../src/jobs/read/framer.ts';
import type { BatchReply, HashFrom, ReaderReply } from '../../src/jobs/read/messages.ts';
import { createSlabs, freeSlab } from '../../src/jobs/read/slabs.ts';
import { TarScanner } from '../../src/tar/scanner.ts';
import { chunksOf, END, member, sha256 } from '../tar/archives.ts';

const MiB = 1024 * 1024;

/** Takes batches as an index does: puts hashes from frames and of cut contents to their members. */
class Assembled {
  readonly members: IndexMember[] = [];
  readonly #contents = new ContentDigests();
  readonly #frames: string[] = [];
  #open: IndexMember | undefined;

  take(batch: BatchReply, bytes: Uint8Array): void {
    const { frames, contents } = batch;
    expect(batch.firstFrame).toBe(this.#frames.length);
    for (let i = 0; i < frames.length; i += 2) {
      const [offset, length] = [frames[i] as number, frames[i + 1] as number];
      this.#frames.push(sha256(bytes.subarray(offset, offset + length)));
    }
    const digests = this.#contents.take({ stream: 0, bytes, frames, contents });
    const hashOf = ({ inFrame, cut }: HashFrom) =>
      inFrame === undefined ? cut && digests.shift() : this.#frames[inFrame];
    for (const item of batch.items) {
      if (typeof item === 'number' || 'upTo' in item) continue;
      if ('member' in item) {
        this.members.push(item.member);
        this.#open = item.done ? undefined : item.member;
        const hash = hashOf(item);
        if (hash) item.member.sha256 = hash;
      } else if (this.#open) {
        const hash = hashOf(item) ?? item.sha256;
        if (hash) this.#open.sha256 = hash;
        this.#open = undefined;
      }
    }
    expect(digests).toEqual([]);
  }
}

function hashesOf(tar: Buffer, chunk: number): Map<string, string | undefined> {
  const memory = createSlabs();
  const assembled = new Assembled();
  const send = (reply: ReaderReply) => {
    if (reply.kind !== 'batch') return;
    assembled.take(reply, new Uint8Array(memory.slabs[reply.slab] as SharedArrayBuffer));
    freeSlab(memory, reply.slab);
  };
  const listing = { join: () => ({}), gapsPassed: 0 };
  const batcher = new Batcher(memory, send);
  const scanner = new TarScanner(new Framer(batcher, listing));
  for (const bytes of chunksOf(tar, chunk)) scanner.push(bytes);
  scanner.finish();
  batcher.finish([], 0);
  return new Map(assembled.members.map(({ path, sha256: hash }) => [path, hash]));
}

const sizes = fc.array(
  fc.oneof(
    fc.constantFrom(0, 1, 512, 8191, 8192, MiB - 1, MiB, MiB + 1, 2 * MiB, 3 * MiB, 4 * MiB, 9 * MiB),
    fc.integer({ min: 0, max: 5 * MiB }),
  ),
  { minLength: 1, maxLength: 8 },
);

it('every content has its SHA-256, however it is cut into frames, batches and pieces of the pipe', () => {
  const noise = randomBytes(16 * MiB);
  const chunks = fc.constantFrom(64 * 1024, 65_536 + 511, MiB);
  fc.assert(
    fc.property(sizes, chunks, fc.boolean(), (all, chunk, zeros) => {
      const contents = all.map((size, n) =>
        zeros ? Buffer.alloc(size) : noise.subarray(n * 4096, n * 4096 + size),
      );
      const members = contents.map((content, n) =>
        member({ name: `./f${n}`, size: content.length }, content),
      );
      const found = hashesOf(Buffer.concat([...members, END]), chunk);
      contents.forEach((content, n) => {
        expect(found.get(`./f${n}`), `sizes ${all}, number ${n}`).toBe(sha256(content));
      });
    }),
    { numRuns: 60 },
  );
}, 120_000);
