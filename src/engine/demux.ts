import { VolbakError } from '../core/errors.ts';

const HEADER = 8;
/** Largest frame that an engine sends is far smaller; a larger length is a broken stream. */
const MAX_FRAME = 64 * 1024 * 1024;

/**
 * Takes apart the engine's multiplexed stream of a container's output (Docker Engine API, "Attach to a container":
 * one byte of stream number, three zeros, four bytes of length). Yields what is stdout and calls `onStderr` for
 * the rest. Reads no faster than it is read from; a header that is none is an error, never passed on as data.
 */
export async function* demultiplex(
  source: AsyncIterable<Uint8Array>,
  onStderr: (bytes: Buffer) => void,
): AsyncGenerator<Buffer> {
  let header = Buffer.alloc(0);
  let left = 0;
  let stream = 0;
  for await (const part of source) {
    const chunk = Buffer.from(part.buffer, part.byteOffset, part.byteLength);
    let at = 0;
    while (at < chunk.length) {
      if (left === 0) {
        const n = Math.min(HEADER - header.length, chunk.length - at);
        header = Buffer.concat([header, chunk.subarray(at, at + n)]);
        at += n;
        if (header.length < HEADER) break;
        [stream, left] = parseFrameHeader(header);
        header = Buffer.alloc(0);
        continue;
      }
      const n = Math.min(left, chunk.length - at);
      const bytes = chunk.subarray(at, at + n);
      at += n;
      left -= n;
      if (stream === 1) yield bytes;
      else onStderr(bytes);
    }
  }
  if (left > 0 || header.length > 0) {
    throw new VolbakError('HELPER_FAILED', "the engine's stream of a helper's output ended in the middle");
  }
}

function parseFrameHeader(header: Buffer): [stream: number, length: number] {
  const stream = header[0] ?? 0;
  const length = header.readUInt32BE(4);
  if (stream > 2 || header[1] !== 0 || header[2] !== 0 || header[3] !== 0 || length > MAX_FRAME) {
    throw new VolbakError('HELPER_FAILED', "the engine's stream of a helper's output is damaged");
  }
  return [stream, length];
}
