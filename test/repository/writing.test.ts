import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { createFramePool, type FramePool } from '../../src/codec/pool.ts';
import { FrameTable } from '../../src/core/frame-table.ts';
import type { IndexMember } from '../../src/core/member.ts';
import { type FetchOptions, groupFrames } from '../../src/repository/fetch.ts';
import { type FrameHandle, resolveHandle } from '../../src/repository/frame-handle.ts';
import type { FrameRef } from '../../src/repository/frame-ref.ts';
import { FrameWriter } from '../../src/repository/frame-writer.ts';
import { readFrameRefs, readIndex, readMembers, readTar } from '../../src/repository/index-reader.ts';
import { IndexWriter, type PendingMember } from '../../src/repository/index-writer.ts';
import { parseSegmentKey, segmentKey } from '../../src/repository/keys.ts';
import { SEGMENT_SIZE, segmentHeader, segmentHeaderLength } from '../../src/repository/segments.ts';
import { MemoryStore } from '../../src/store/memory.ts';
import type { Store } from '../../src/store/store.ts';
import { pathHash } from '../../src/tar/names.ts';
import { afterwards } from '../support/temp.ts';

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

/** Random bytes that are the same in every run. */
function noise(seed: number, size: number): Buffer {
  const out = Buffer.alloc(size);
  let x = Math.imul(seed, 0x9e3779b1) | 1;
  for (let i = 0; i < size; i++) {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    out[i] = x;
  }
  return out;
}

interface Part {
  frames: Buffer[];
  member: IndexMember;
}

function memberOf(path: string, size: number, change = 0): IndexMember {
  return {
    path,
    type: 'file',
    size,
    mode: 0o644,
    uid: 0,
    gid: 0,
    mtime: `${1_700_000_000 + change}.000000000`,
    span: size,
    ctime: '1.000000000',
    ino: pathHash(path),
    nlink: 1,
    sha256: sha256(Buffer.from(`${path}${change}`)),
  };
}

interface Written {
  index: FrameRef[];
  newBytes: number;
  storedBytes: number;
  segments: string[];
  needed: ReadonlySet<string>;
  tarBytes: number;
  entries: number;
}

function setup() {
  const table = FrameTable.create(100_000);
  const pool = createFramePool({ table: table.shared, threads: 2 });
  afterwards(() => pool.close());
  return { table, pool };
}

/** Writes a volume as a backup does: frames and members as they come, some members ready only at the end. */
async function write(
  store: Store,
  parts: Part[],
  shared: { table: FrameTable; pool: FramePool },
  known: FrameRef[] = [],
): Promise<Written> {
  const writer = new FrameWriter({ store, ...shared });
  for (const ref of known) writer.addKnown(ref);
  const emitted: Buffer[] = [];
  const index = new IndexWriter({
    volume: 'test',
    table: shared.table,
    names: writer.names,
    pathHash,
    emit: (raw) => void emitted.push(raw),
    onMember: () => {},
  });
  const late: PendingMember[] = [];
  for (const [i, { frames, member }] of parts.entries()) {
    const bytes = new Uint8Array(new SharedArrayBuffer(frames.reduce((n, f) => n + f.length, 0)));
    const places = new Uint32Array(frames.length * 2);
    let at = 0;
    for (const [j, frame] of frames.entries()) {
      bytes.set(frame, at);
      places.set([at, frame.length], j * 2);
      at += frame.length;
    }
    const handles: FrameHandle[] = frames.length === 0 ? [] : await writer.write({ bytes, frames: places });
    const pending = { member, ready: i % 5 !== 0 };
    if (handles[0] !== undefined) index.frame(handles[0]);
    index.member(pending);
    for (const handle of handles.slice(1)) index.frame(handle);
    if (!pending.ready) late.push(pending);
    if (late.length > 3) (late.shift() as PendingMember).ready = true;
    await index.flush();
  }
  for (const pending of late) pending.ready = true;
  await writer.closeSegment();
  await index.finish();
  const handles: FrameHandle[] = [];
  const before = writer.newBytes;
  for (const raw of emitted) {
    const bytes = new Uint8Array(new SharedArrayBuffer(raw.length));
    bytes.set(raw);
    const [handle] = await writer.write({ bytes, frames: new Uint32Array([0, raw.length]) });
    handles.push(handle as FrameHandle);
  }
  await writer.flush();
  return {
    index: handles.map((handle) => resolveHandle(handle, shared.table, writer.names) as FrameRef),
    newBytes: before,
    storedBytes: writer.storedBytes,
    segments: [...writer.segmentsWritten],
    needed: index.segments,
    tarBytes: index.tarBytes,
    entries: index.entries,
  };
}

async function collect<T>(source: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of source) all.push(item);
  return all;
}

async function tarHash(index: FrameRef[], options: FetchOptions): Promise<string> {
  const hash = createHash('sha256');
  for await (const bytes of readTar(index, options)) hash.update(bytes);
  return hash.digest('hex');
}

function volume(members: number, seed: number): Part[] {
  return Array.from({ length: members }, (_, i) => {
    const count = i % 7 === 0 ? 3 : i % 3 === 0 ? 0 : 1;
    const frames = Array.from({ length: count }, (_, j) =>
      noise(seed * 1e6 + i * 10 + j, 500 + ((i * 7919) % 30_000)),
    );
    const path = `./dir${Math.floor(i / 50)}/file-${i}\xff`;
    return {
      frames,
      member: memberOf(
        path,
        frames.reduce((n, f) => n + f.length, 0),
      ),
    };
  });
}

describe('frame writer, index writer and readers', () => {
  it('bring a volume back: every byte of the tar and every member, in order', async () => {
    const store = new MemoryStore();
    const shared = setup();
    const parts = volume(400, 1);
    const written = await write(store, parts, shared);
    const options = { store, pool: shared.pool };
    const frames = parts.flatMap((p) => p.frames);
    expect(await tarHash(written.index, options)).toBe(sha256(Buffer.concat(frames)));
    expect(await collect(readMembers(written.index, options))).toEqual(parts.map((p) => p.member));
    expect((await collect(readFrameRefs(written.index, options))).map((ref) => ref[4])).toEqual(
      frames.map(sha256),
    );
    expect(written.tarBytes).toBe(frames.reduce((n, f) => n + f.length, 0));
    expect(written.entries).toBe(parts.length);
    const [head] = await collect(readIndex(written.index, options));
    expect(head).toEqual({ kind: 'head', head: { volume: 'test', format: 1, cut: 1 } });
    expect([...written.needed].every((name) => written.segments.includes(name))).toBe(true);
  });

  it('keep lines in order while large members wait', async () => {
    const table = FrameTable.create(10);
    const names = { nameOf: () => 'a'.repeat(64) } as never;
    const emitted: Buffer[] = [];
    const index = new IndexWriter({
      volume: 'v',
      table,
      names,
      pathHash,
      emit: (raw) => void emitted.push(raw),
      onMember: () => {},
    });
    const first: PendingMember = { member: memberOf('./a', 1), ready: false };
    index.member(first);
    for (let i = 0; i < 10_000; i++) index.member({ member: memberOf(`./b${i}`, 1), ready: true });
    await index.flush();
    expect(index.waiting).toBe(10_001);
    await expect(index.finish()).rejects.toThrow(expect.objectContaining({ code: 'UNEXPECTED' }));
    first.ready = true;
    await index.finish();
    const lines = Buffer.concat(emitted).toString().split('\n').slice(0, -1);
    expect(lines).toHaveLength(10_002);
    expect(lines.slice(1, 3).map((l) => JSON.parse(l).path)).toEqual(['./a', './b0']);
    for (const raw of emitted) expect(raw.length).toBeLessThan(300 * 1024);
  });

  it('store nothing new of frames that are known, also in another session', async () => {
    const store = new MemoryStore();
    const parts = volume(200, 2);
    const shared = setup();
    const first = await write(store, parts, shared);
    const again = setup();
    const refs = await collect(readFrameRefs(first.index, { store, pool: shared.pool }));
    const second = await write(store, parts, again, [...refs, ...first.index]);
    expect(second).toMatchObject({ newBytes: 0, storedBytes: 0, segments: [] });
    expect(second.index).toEqual(first.index);
  });

  it('store a frame once that occurs many times', async () => {
    const store = new MemoryStore();
    const shared = setup();
    const same = noise(7, 50_000);
    const parts = Array.from({ length: 50 }, (_, i) => ({
      frames: [same, same],
      member: memberOf(`./${i}`, 100_000),
    }));
    const written = await write(store, parts, shared);
    expect(written.newBytes).toBe(50_000);
    expect(written.tarBytes).toBe(5_000_000);
    expect(written.storedBytes).toBeLessThan(80_000);
  });

  it('work where the table of known frames is full', async () => {
    const store = new MemoryStore();
    const table = FrameTable.create(5);
    const pool = createFramePool({ table: table.shared, threads: 1 });
    afterwards(() => pool.close());
    const parts = volume(60, 4).slice(0, 30);
    const written = await write(store, parts, { table, pool });
    expect(await tarHash(written.index, { store, pool })).toBe(
      sha256(Buffer.concat(parts.flatMap((p) => p.frames))),
    );
  });

  it('share most of the index where one member changed', async () => {
    const store = new MemoryStore();
    const shared = setup();
    const parts = Array.from({ length: 8000 }, (_, i) => ({
      frames: [],
      member: memberOf(`./d${i % 90}/file-${i}`, 10),
    }));
    const first = await write(store, parts, shared);
    const changed = parts.with(4000, {
      frames: [],
      member: memberOf((parts[4000] as Part).member.path, 10, 1),
    });
    const second = await write(store, changed, shared);
    const had = new Set(first.index.map((ref) => ref[4]));
    expect(first.index.length).toBeGreaterThan(10);
    expect(second.index.filter((ref) => !had.has(ref[4]))).toHaveLength(1);
    const removed = await write(store, parts.toSpliced(2000, 1), shared);
    expect(removed.index.filter((ref) => !had.has(ref[4])).length).toBeLessThanOrEqual(3);
  });

  it('raise the store’s error and end, whatever is under way', async () => {
    const store = new MemoryStore();
    const broken = Object.assign(Object.create(store), {
      put: async () => {
        throw new Error('store is gone');
      },
      label: 'x',
    });
    await expect(write(broken, volume(50, 5), setup())).rejects.toThrow('store is gone');
  });
});

describe('segments', () => {
  it('begin with the skippable frame, are named by their SHA-256 and decode with zstd -d', async () => {
    const store = new MemoryStore();
    const frames = Array.from({ length: 24 }, (_, i) => noise(i + 900, 2_000_000));
    const written = await write(store, [{ frames, member: memberOf('./large', 48_000_000) }], setup());
    expect(written.segments.length).toBeGreaterThanOrEqual(2);
    const decoded: Buffer[] = [];
    for (const name of written.segments) {
      const bytes = await store.get(segmentKey(name));
      expect(sha256(bytes)).toBe(name);
      expect(parseSegmentKey(segmentKey(name))).toBe(name);
      expect(bytes.length).toBeLessThanOrEqual(SEGMENT_SIZE);
      expect(bytes.readUInt32LE(0)).toBe(0x184d2a5b);
      expect(segmentHeaderLength(bytes)).toBe(31);
      decoded.push(execFileSync('zstd', ['-dc'], { input: bytes, maxBuffer: 1 << 27 }));
    }
    const all = Buffer.concat(decoded);
    expect(sha256(all.subarray(0, 48_000_000))).toBe(sha256(Buffer.concat(frames)));
  });

  it('are never alike, even with the same frames', async () => {
    const parts = volume(10, 3);
    const store = new MemoryStore();
    const [one] = (await write(store, parts, setup())).segments;
    const [two] = (await write(store, parts, setup())).segments;
    expect(one).not.toBe(two);
    expect(segmentHeader().equals(segmentHeader())).toBe(false);
    expect(segmentHeaderLength(Buffer.from('not a segment at all, really not one'))).toBeUndefined();
  });
});

describe('fetching', () => {
  const ref = (segment: string, offset: number, length: number, raw = length): FrameRef => [
    segment.repeat(64),
    offset,
    length,
    raw,
    'f'.repeat(64),
  ];

  it('joins neighbours to one read, in bounds, and keeps the order', async () => {
    const refs = [ref('a', 31, 10), ref('a', 41, 10), ref('a', 60, 5), ref('b', 65, 5), ref('a', 65, 5)];
    const groups = await collect(groupFrames(refs));
    expect(groups.map((g) => [g.segment[0], g.offset, g.length, g.frames.length])).toEqual([
      ['a', 31, 20, 2],
      ['a', 60, 5, 1],
      ['b', 65, 5, 1],
      ['a', 65, 5, 1],
    ]);
    const bombs = Array.from({ length: 100 }, (_, i) => ref('a', i, 1, 2 * 1024 * 1024));
    for (const g of await collect(groupFrames(bombs))) expect(g.raw).toBeLessThanOrEqual(8 * 1024 * 1024);
    expect(await collect(groupFrames([]))).toEqual([]);
    const padding: FrameRef = ['c'.repeat(64), 7, 20, 100, sha256(Buffer.alloc(100))];
    const padded = [padding, ref('a', 31, 10), padding, ref('a', 41, 10), padding, ref('b', 41, 10), padding];
    const spanned = await collect(groupFrames(padded));
    expect(spanned.map((g) => [g.segment[0], g.offset, g.length, g.raw, g.frames.length])).toEqual([
      ['a', 31, 20, 320, 5],
      ['b', 41, 10, 110, 2],
    ]);
  });

  it('is INTEGRITY where a segment is missing, cut off or damaged', async () => {
    const shared = setup();
    for (const harm of ['missing', 'cut', 'flipped'] as const) {
      const store = new MemoryStore();
      const written = await write(store, volume(30, 6), shared.table.size ? setup() : shared);
      const [name] = written.segments as [string];
      const bytes = await store.get(segmentKey(name));
      if (harm === 'missing') await store.delete(segmentKey(name));
      if (harm === 'cut') await store.put(segmentKey(name), bytes.subarray(0, 200));
      if (harm === 'flipped') {
        bytes[1000] = (bytes[1000] as number) ^ 1;
        await store.put(segmentKey(name), bytes);
      }
      const result = tarHash(written.index, { store, pool: shared.pool });
      await expect(result, harm).rejects.toThrow(
        expect.objectContaining({ code: 'INTEGRITY', message: expect.stringContaining(name) }),
      );
    }
  });
});
