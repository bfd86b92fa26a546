import { PassThrough, Readable } from 'node:stream';
import zlib from 'node:zlib';
import { messageOf, VolbakError } from '../core/errors.ts';
import { splitFrames } from './zstd-frames.ts';

export type Compression = 'none' | 'gzip' | 'bzip2' | 'xz' | 'zstd';

const MAGICS: [Compression, number[]][] = [
  ['gzip', [0x1f, 0x8b]],
  ['bzip2', [0x42, 0x5a, 0x68]],
  ['xz', [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]],
  ['zstd', [0x28, 0xb5, 0x2f, 0xfd]],
];

/** What the first bytes of a file say it is compressed with; its name says nothing (people call bzip2 `.tar.gz`). */
export function detectCompression(start: Uint8Array): Compression {
  const found = MAGICS.find(([, magic]) => magic.every((byte, i) => start[i] === byte));
  if (found) return found[0];
  const skippable = (start[0] ?? 0) >> 4 === 5 && start[1] === 0x2a && start[2] === 0x4d && start[3] === 0x18;
  return skippable ? 'zstd' : 'none';
}

/**
 * A stream unpacked, its compression told by its content. Damage and an early end raise INTEGRITY, also in the last of
 * several streams that were put one after another.
 */
export async function* decompress(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const iterator = source[Symbol.asyncIterator]();
  let start = Buffer.alloc(0);
  while (start.length < 6) {
    const next = await iterator.next();
    if (next.done) break;
    start = Buffer.concat([start, next.value]);
  }
  const whole = resume(start, iterator);
  const kind = detectCompression(start);
  try {
    yield* unpack(kind, whole);
  } catch (error) {
    if (error instanceof VolbakError) throw error;
    if ((error as NodeJS.ErrnoException).syscall !== undefined) throw error;
    throw new VolbakError('INTEGRITY', `the ${kind} stream is damaged or cut off: ${messageOf(error)}`, {
      cause: error,
    });
  }
}

async function* resume(start: Buffer, rest: AsyncIterator<Uint8Array>): AsyncGenerator<Uint8Array> {
  try {
    if (start.length > 0) yield start;
    for (let next = await rest.next(); !next.done; next = await rest.next()) yield next.value;
  } finally {
    await rest.return?.();
  }
}

function unpack(kind: Compression, source: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
  switch (kind) {
    case 'none':
      return source;
    case 'gzip':
      return through(source, zlib.createGunzip());
    case 'bzip2':
      return bzip2(source);
    case 'xz':
      return xz(source);
    case 'zstd':
      return zstd(source);
  }
}

/** Pipes a source through a transform, errors of both told to the reader. */
function through(
  source: AsyncIterable<Uint8Array>,
  transform: NodeJS.ReadWriteStream,
): AsyncIterable<Uint8Array> {
  const out = new PassThrough({ highWaterMark: 1024 * 1024 });
  const fail = (error: unknown) => out.destroy(error instanceof Error ? error : new Error(String(error)));
  const input = Readable.from(source, { objectMode: false });
  input.on('error', fail);
  transform.on('error', fail);
  input.pipe(transform).pipe(out);
  return out as AsyncIterable<Uint8Array>;
}

async function* bzip2(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const { default: unbzip2 } = await import('unbzip2-stream');
  yield* through(source, unbzip2() as unknown as NodeJS.ReadWriteStream);
}

async function* xz(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  // Its types speak of a named export, but it is a CommonJS module: Node gives that as the default.
  const { XzReadableStream } = (await import('xz-decompress'))
    .default as unknown as typeof import('xz-decompress');
  const web = Readable.toWeb(
    Readable.from(source, { objectMode: false }),
  ) as unknown as ReadableStream<Uint8Array>;
  yield* Readable.fromWeb(new XzReadableStream(web) as never);
}

async function* zstd(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  if (typeof zlib.createZstdDecompress !== 'function') {
    throw new VolbakError('USAGE', 'this Node has no zstd of its own, which a .zst archive needs', {
      hint: 'Use Node 22.15 or newer, or unpack it first: zstd -d.',
    });
  }
  const parts = splitFrames(source);
  for (let next = await parts.next(); !next.done; next = await parts.next()) {
    const first = next.value;
    const frame = async function* () {
      yield first.bytes;
      if (first.last) return;
      for (let part = await parts.next(); !part.done; part = await parts.next()) {
        yield part.value.bytes;
        if (part.value.last) return;
      }
    };
    yield* through(frame(), zlib.createZstdDecompress());
  }
}
