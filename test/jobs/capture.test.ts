import { createHash } from 'node:crypto';
import { afterAll, describe, expect, it } from 'vitest';
import { createFramePool } from '../../src/codec/pool.ts';
import { FrameTable } from '../../src/core/frame-table.ts';
import type { IndexMember } from '../../src/core/member.ts';
import { CaptureWriter } from '../../src/jobs/handle/capture.ts';
import { Framer } from '../../src/jobs/read/framer.ts';
import { FrameWriter } from '../../src/repository/frame-writer.ts';
import { readFrameRefs, readMembers, readTar } from '../../src/repository/index-reader.ts';
import { MemoryStore } from '../../src/store/memory.ts';
import { TarScanner } from '../../src/tar/scanner.ts';

const table = FrameTable.create(10_000);
const pool = createFramePool({ table: table.shared, threads: 1 });
afterAll(() => pool.close());

/** Bytes that nothing can compress, the same each time. */
function noise(length: number): Buffer {
  const parts: Buffer[] = [];
  for (let i = 0; i * 32 < length; i++) parts.push(createHash('sha256').update(`${length} ${i}`).digest());
  return Buffer.concat(parts).subarray(0, length);
}

async function capture(content: Buffer, piece: number) {
  const store = new MemoryStore();
  const writer = new FrameWriter({ store, pool, table: FrameTable.create(10_000) });
  const job = new CaptureWriter(writer, 'db.sql', new Date('2026-11-21T10:00:00.700Z'));
  for (let at = 0; at < content.length; at += piece) {
    // The engine's next part may overwrite the one before.
    const part = Buffer.from(content.subarray(at, at + piece));
    await job.push(part);
    part.fill(0);
  }
  const volume = await job.finish();
  await writer.flush();
  return { volume, fetch: { store, pool } };
}

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const item of items) list.push(item);
  return list;
}

/** Hashes of the frames into which a backup cuts a tar, and its members. */
function cutByBackup(tar: Buffer): { frames: string[]; members: IndexMember[] } {
  const frames: string[] = [];
  const members: IndexMember[] = [];
  let parts: Buffer[] = [];
  const framer = new Framer(
    {
      write: (bytes) => parts.push(Buffer.from(bytes)),
      cut() {
        frames.push(createHash('sha256').update(Buffer.concat(parts)).digest('hex'));
        parts = [];
      },
      member: (member) => members.push(member),
      memberDone() {},
      gap() {},
    },
    { join: () => ({}), gapsPassed: 0 },
    true,
  );
  const scanner = new TarScanner(framer);
  scanner.push(tar);
  scanner.finish();
  return { frames, members };
}

const MIB = 1024 * 1024;

describe('a captured stream of unknown length', () => {
  it.each([0, 1, 511, 512, 8191, 8192, 8193, 100_000, MIB - 1, MIB, MIB + 1, 5 * MIB + 17])(
    'of %d bytes becomes a whole tar, cut as a backup of that file would cut it',
    async (size) => {
      const content = noise(size);
      const { volume, fetch } = await capture(content, 65_536);
      const tar = Buffer.concat(await all(readTar(volume.index, fetch)));
      expect(tar.length).toBe(volume.tarBytes);
      const { frames, members } = cutByBackup(tar);
      expect((await all(readFrameRefs(volume.index, fetch))).map((ref) => ref[4])).toEqual(frames);
      const read = await all(readMembers(volume.index, fetch));
      expect(read).toEqual(members);
      expect(read.map(({ path }) => path)).toEqual(['.', './db.sql']);
      expect(read[1]).toMatchObject({
        size,
        mode: 0o600,
        mtime: '1795255200.000000000',
        sha256: createHash('sha256').update(content).digest('hex'),
      });
      expect(tar.includes(content)).toBe(true);
      expect(volume).toMatchObject({ entries: 2, readBytes: size, frames: frames.length, captured: true });
    },
  );

  it('is cut alike in whatever pieces it comes', async () => {
    const content = noise(3 * MIB);
    const one = await capture(content, content.length);
    const many = await capture(content, 4093);
    expect(many.volume.digest).toBe(one.volume.digest);
    const hashes = async ({ volume, fetch }: typeof one) =>
      (await all(readFrameRefs(volume.index, fetch))).map((ref) => ref[4]);
    expect(await hashes(many)).toEqual(await hashes(one));
  });

  it('stores a second one that is mostly the same in a fraction', async () => {
    const store = new MemoryStore();
    const writer = new FrameWriter({ store, pool, table: FrameTable.create(10_000) });
    const sizes: number[] = [];
    for (const line of ['-- first\n', '-- the second dump\n']) {
      const job = new CaptureWriter(writer, 'db.sql', new Date(0));
      await job.push(Buffer.concat([Buffer.from(line), noise(8 * MIB)]));
      sizes.push((await job.finish()).newBytes);
    }
    expect(sizes[0]).toBeGreaterThan(8 * MIB);
    expect(sizes[1]).toBeLessThan(3 * MIB);
  });

  it('that the store does not take is refused, not lost', async () => {
    const store = new MemoryStore();
    store.put = () => Promise.reject(new Error('the store is full'));
    const writer = new FrameWriter({ store, pool, table: FrameTable.create(10_000) });
    const job = new CaptureWriter(writer, 'db.sql', new Date(0));
    const pushing = (async () => {
      for (let i = 0; i < 40; i++) await job.push(noise(2 * MIB + i));
      await job.finish();
      await writer.flush();
    })();
    await expect(pushing).rejects.toThrow('the store is full');
  });
});
