import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { type FrameCodec, loadCodec } from '../../src/codec/zstd.ts';

const MiB = 1024 * 1024;
const codecs = { node: await loadCodec('node'), wasm: await loadCodec('wasm') };
const names = ['node', 'wasm'] as const;

function sample(kind: 'random' | 'zeros' | 'text', size: number): Buffer {
  if (kind === 'random') return randomBytes(size);
  if (kind === 'zeros') return Buffer.alloc(size);
  const lines = Array.from({ length: Math.ceil(size / 6) }, (_, i) => `line ${i}\n`).join('');
  return Buffer.from(lines).subarray(0, size);
}

function damage(codec: FrameCodec, stored: Uint8Array, rawLength: number): Uint8Array | 'INTEGRITY' {
  try {
    return codec.decompress(stored, rawLength);
  } catch (error) {
    expect(error).toMatchObject({ code: 'INTEGRITY' });
    return 'INTEGRITY';
  }
}

describe.each(names)('the %s codec', (name) => {
  const codec = codecs[name];

  it.each(['random', 'zeros', 'text'] as const)(
    'brings back %s of 1 byte to 2 MiB, also through the other codec and zstd -d',
    (kind) => {
      for (const size of [1, 2, 255, 256, 65_535, 65_536, MiB, 2 * MiB]) {
        const raw = sample(kind, size);
        const stored = codec.compress(raw);
        for (const reader of names) {
          expect(raw.equals(codecs[reader].decompress(stored, size)), `${size} by ${reader}`).toBe(true);
        }
        if (size > 1000 && size < MiB) continue;
        const byZstd = execFileSync('zstd', ['-dc'], { input: stored, maxBuffer: 4 * MiB });
        expect(raw.equals(byZstd), `${size} by zstd`).toBe(true);
      }
    },
  );

  it('compresses equal bytes alike', () => {
    const raw = sample('text', 100_000);
    expect(Buffer.from(codec.compress(raw)).equals(codec.compress(raw))).toBe(true);
  });

  it('states the content size in the frame, so that readers can refuse it', () => {
    const list = (size: number) => {
      const stored = Buffer.from(codec.compress(sample('text', size)));
      return stored.readUInt32LE(0) === 0xfd2fb528 && ((stored[4] as number) & 0xe0) !== 0;
    };
    for (const size of [1, 300, 70_000, 2 * MiB]) expect(list(size), `${size}`).toBe(true);
  });

  it('raises INTEGRITY for a frame that is cut anywhere', () => {
    const raw = sample('text', 5000);
    const stored = codec.compress(raw);
    for (let length = 0; length < stored.length; length++) {
      expect(damage(codec, stored.subarray(0, length), raw.length), `${length}`).toBe('INTEGRITY');
    }
  });

  it('raises INTEGRITY where the frame holds more or less than it should', () => {
    const stored = codec.compress(sample('text', 5000));
    for (const length of [0, 1, 4999, 5001, 100_000]) expect(damage(codec, stored, length)).toBe('INTEGRITY');
  });

  it('raises INTEGRITY for what is no frame', () => {
    for (const bytes of [new Uint8Array(0), Buffer.from('text'), randomBytes(1000), Buffer.alloc(100)]) {
      expect(damage(codec, bytes, 100)).toBe('INTEGRITY');
    }
  });

  it('refuses a frame that unpacks to 512 MiB, and still works afterwards', () => {
    const bomb = execFileSync('bash', ['-c', 'head -c 512M /dev/zero | zstd -1 --stream-size=536870912 -c'], {
      maxBuffer: MiB,
    });
    expect(damage(codec, bomb, 1000)).toBe('INTEGRITY');
    const raw = sample('random', 2 * MiB);
    expect(raw.equals(codec.decompress(codec.compress(raw), raw.length))).toBe(true);
  });
});

describe('damaged bits', () => {
  it('never decode to other bytes where the frame has a checksum', () => {
    const raw = Buffer.concat([sample('text', 20_000), sample('random', 2000)]);
    const stored = Buffer.from(codecs.node.compress(raw));
    let refused = 0;
    for (let i = 0; i < 600; i++) {
      const bit = Math.floor((i / 600) * stored.length * 8);
      stored[bit >> 3] = (stored[bit >> 3] as number) ^ (1 << (bit & 7));
      const result = damage(codecs.node, stored, raw.length);
      if (result === 'INTEGRITY') refused++;
      else expect(raw.equals(result), `bit ${bit}`).toBe(true);
      stored[bit >> 3] = (stored[bit >> 3] as number) ^ (1 << (bit & 7));
    }
    expect(refused).toBeGreaterThan(590);
  });

  it('are seen by zstd -t in frames of the node codec', () => {
    const stored = Buffer.from(codecs.node.compress(sample('random', 3000)));
    expect((stored[4] as number) & 4).toBe(4);
    stored[1500] = (stored[1500] as number) ^ 1;
    expect(() =>
      execFileSync('zstd', ['-t'], { input: stored, stdio: ['pipe', 'ignore', 'ignore'] }),
    ).toThrow();
  });
});

describe('loadCodec', () => {
  it('takes node:zlib where it can', async () => {
    expect((await loadCodec()).name).toBe('node');
  });
});

it('a frame that is cut off does not spoil the frames after it', async () => {
  const codec = codecs.node;
  const raw = sample('text', 100_000);
  const stored = Buffer.from(codec.compress(raw));
  for (const length of [1, 5, 20, Math.floor(stored.length / 2), stored.length - 1]) {
    expect(damage(codec, stored.subarray(0, length), raw.length)).toBe('INTEGRITY');
    expect(raw.equals(codec.decompress(stored, raw.length)), `after ${length} bytes`).toBe(true);
  }
});
