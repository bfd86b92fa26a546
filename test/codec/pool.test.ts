import { createHash, randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { createFramePool, type FramePool, type PoolOptions } from '../../src/codec/pool.ts';
import { FrameTable } from '../../src/core/frame-table.ts';
import { afterwards } from '../support/temp.ts';

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest();

function pool(options: PoolOptions = {}): FramePool {
  const made = createFramePool({ threads: 2, ...options });
  afterwards(() => made.close());
  return made;
}

/** A batch of these frames in shared memory. */
function batchOf(raws: Buffer[]) {
  const bytes = new Uint8Array(new SharedArrayBuffer(raws.reduce((n, r) => n + r.length, 0)));
  const frames = new Uint32Array(raws.length * 2);
  let at = 0;
  for (const [i, raw] of raws.entries()) {
    bytes.set(raw, at);
    frames.set([at, raw.length], i * 2);
    at += raw.length;
  }
  return { bytes, frames };
}

async function encode(frames: FramePool, raws: Buffer[]) {
  const encoded = await frames.encode(batchOf(raws));
  let offset = 0;
  const refs = raws.map((raw, i) => {
    const length = encoded.lengths[i] as number;
    const ref = {
      offset,
      length,
      raw: raw.length,
      sha256: encoded.hashes.toString('hex', i * 32, i * 32 + 32),
    };
    offset += length;
    return ref;
  });
  expect(encoded.stored.length).toBe(offset);
  const stored = Buffer.from(encoded.stored);
  encoded.release();
  return { ...encoded, stored, refs };
}

describe.each(['node', 'wasm'] as const)('a pool with the %s codec', (codec) => {
  const raws = [1, 500, 70_000, 2 * 1024 * 1024].flatMap((n) => [randomBytes(n), Buffer.alloc(n, 7)]);

  it('brings frames back, with their SHA-256', async () => {
    const frames = pool({ codec });
    const { refs, stored, hashes, known } = await encode(frames, raws);
    expect([...known]).toEqual(raws.map(() => -1));
    expect(hashes.equals(Buffer.concat(raws.map(sha256)))).toBe(true);
    const back = await frames.decode({ stored, frames: refs });
    expect(Buffer.concat(raws).equals(back)).toBe(true);
  });

  it('raises INTEGRITY where the SHA-256 is another', async () => {
    const frames = pool({ codec });
    const { refs, stored } = await encode(frames, [Buffer.from('a'), Buffer.from('b')]);
    const wrong = refs.map((ref, i) => (i === 1 ? { ...ref, sha256: '0'.repeat(64) } : ref));
    await expect(frames.decode({ stored: Buffer.from(stored), frames: wrong })).rejects.toThrow(
      expect.objectContaining({ code: 'INTEGRITY' }),
    );
    expect(Buffer.from(await frames.decode({ stored, frames: refs })).toString()).toBe('ab');
  });

  it('raises INTEGRITY for frames that are cut off or damaged, and goes on', async () => {
    const frames = pool({ codec });
    const raw = randomBytes(10_000);
    const { refs, stored } = await encode(frames, [raw]);
    const cut = { stored: Buffer.from(stored.subarray(0, stored.length - 1)), frames: refs };
    await expect(frames.decode(cut)).rejects.toThrow(expect.objectContaining({ code: 'INTEGRITY' }));
    for (let i = 0; i < 50; i++) {
      const flipped = Buffer.from(stored);
      flipped[i * 200] = (flipped[i * 200] as number) ^ 16;
      const result = await frames.decode({ stored: flipped, frames: refs }).catch((error) => {
        expect(error).toMatchObject({ code: 'INTEGRITY' });
      });
      if (result) expect(raw.equals(result)).toBe(true);
    }
    expect(raw.equals(await frames.decode({ stored, frames: refs }))).toBe(true);
  });
});

describe('a pool', () => {
  it('finds the frames of its table and compresses only the others', async () => {
    const table = FrameTable.create(100);
    const frames = pool({ table: table.shared });
    const [a, b, c] = [randomBytes(1000), randomBytes(2000), randomBytes(3000)];
    table.add(sha256(b), 0, { segment: 1, offset: 2, length: 3, raw: 2000 });
    const first = await encode(frames, [a, b, c]);
    expect([...first.known]).toEqual([-1, 0, -1]);
    expect(first.lengths[1]).toBe(0);
    // Added after the threads began: they see it.
    table.add(first.hashes, 0, { segment: 1, offset: 5, length: first.lengths[0] as number, raw: 1000 });
    const second = await encode(frames, [c, a, b]);
    expect([...second.known]).toEqual([-1, 1, 0]);
  });

  it('answers each call with its own frames, in whatever order they end', async () => {
    const frames = pool();
    const sizes = [2_000_000, 10, 1_500_000, 20, 30, 1_000_000, 40, 50];
    await Promise.all(
      sizes.map(async (size) => {
        const raw = randomBytes(size);
        const { hashes, refs, stored } = await encode(frames, [raw]);
        expect(hashes.equals(sha256(raw))).toBe(true);
        expect(raw.equals(await frames.decode({ stored, frames: refs }))).toBe(true);
      }),
    );
  });

  it('holds a thread back while its answers are not released, and loses none', async () => {
    const frames = createFramePool({ threads: 1 });
    const raws = Array.from({ length: 12 }, (_, i) => randomBytes(1000 + i));
    const answers = raws.map((raw) => frames.encode(batchOf([raw])));
    for (const [i, raw] of raws.entries()) {
      const { stored, hashes, release } = await (answers[i] as (typeof answers)[number]);
      expect(hashes.equals(sha256(raw))).toBe(true);
      const refs = [
        { offset: 0, length: stored.length, raw: raw.length, sha256: sha256(raw).toString('hex') },
      ];
      const other = pool();
      expect(raw.equals(await other.decode({ stored: Buffer.from(stored), frames: refs }))).toBe(true);
      release();
    }
    await frames.close();
  });

  it('takes an empty batch', async () => {
    const frames = pool();
    const encoded = await frames.encode({ bytes: new Uint8Array(0), frames: new Uint32Array(0) });
    expect([encoded.stored.length, encoded.hashes.length]).toEqual([0, 0]);
    expect((await frames.decode({ stored: new Uint8Array(0), frames: [] })).length).toBe(0);
  });

  it('fails what is under way when it is closed, and what comes later: nothing waits for ever', async () => {
    const frames = createFramePool({ threads: 1 });
    const running = frames.encode(batchOf([randomBytes(2_000_000)]));
    const failed = expect(running).rejects.toThrow('thread ended');
    await frames.close();
    await failed;
    const late = frames.encode(batchOf([Buffer.from('x')]));
    const outcome = await Promise.race([
      late.then(
        () => 'done',
        () => 'failed',
      ),
      new Promise((resolve) => setTimeout(resolve, 1000, 'waits')),
    ]);
    expect(outcome).toBe('failed');
  });

  it('is as wide as it was told, and four at the most by itself', () => {
    expect(pool({ threads: 3 }).width).toBe(3);
    expect(pool({ threads: undefined as never }).width).toBeLessThanOrEqual(4);
  });
});
