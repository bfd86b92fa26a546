import { createHash } from 'node:crypto';
import { ContentDigests } from '../../src/codec/content-digests.ts';
import type { FramePool, PoolOptions } from '../../src/codec/pool.ts';
import { loadCodec } from '../../src/codec/zstd.ts';
import { VolbakError } from '../../src/core/errors.ts';
import { FrameTable } from '../../src/core/frame-table.ts';

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest();

/** The pool without threads, for simulations that must run the same way each time: `vi.mock` puts it in the pool's place. */
export function createFramePool({ table: shared }: PoolOptions = {}): FramePool {
  const table = shared && FrameTable.attach(shared);
  const contents = new ContentDigests();
  let streams = 0;
  return {
    width: 1,
    async encode({ bytes, frames }) {
      const codec = await loadCodec();
      const count = frames.length / 2;
      const known = new Int32Array(count).fill(-1);
      const lengths = new Uint32Array(count);
      const [hashes, stored]: [Buffer[], Buffer[]] = [[], []];
      for (let i = 0; i < count; i++) {
        const raw = bytes.subarray(frames[i * 2], (frames[i * 2] ?? 0) + (frames[i * 2 + 1] ?? 0));
        const hash = sha256(raw);
        hashes.push(hash);
        known[i] = table?.find(hash) ?? -1;
        if ((known[i] as number) >= 0) continue;
        stored.push(Buffer.from(codec.compress(raw)));
        lengths[i] = stored.at(-1)?.length ?? 0;
      }
      return {
        hashes: Buffer.concat(hashes),
        known,
        lengths,
        stored: Buffer.concat(stored),
        release: () => {},
      };
    },
    async decode({ stored, frames }) {
      const codec = await loadCodec();
      return Buffer.concat(
        frames.map(({ offset, length, raw, sha256: wanted, zeros }) => {
          if (zeros) return Buffer.alloc(raw);
          const bytes = Buffer.from(
            codec.decompress(Buffer.from(stored.subarray(offset, offset + length)), raw),
          );
          if (sha256(bytes).toString('hex') !== wanted)
            throw new VolbakError('INTEGRITY', `frame ${wanted} holds other bytes than were written`);
          return bytes;
        }),
      );
    },
    digest: async (batch) => contents.take(batch),
    nextStream: () => streams++,
    close: async () => {},
  };
}
