import { VolbakError } from '../core/errors.ts';

const MAGIC = 0xfd2fb528;
const SKIPPABLE = 0x184d2a50;
const CHECKSUM_FLAG = 0x04;

/** Part of a zstd stream: bytes of a frame, and whether the frame ends with them. Skippable frames are dropped. */
export interface FramePart {
  bytes: Buffer;
  last: boolean;
}

type Step = 'magic' | 'skip-size' | 'header' | 'block' | 'body' | 'checksum' | 'skip';

function damaged(): VolbakError {
  return new VolbakError('INTEGRITY', 'the zstd stream is damaged');
}

/**
 * Finds where the frames of a zstd stream end without decompressing it (RFC 8878, 3.1): Node's decoder stops, without
 * an error, after the first frame of a concatenation, so each frame needs a decoder of its own.
 */
export async function* splitFrames(source: AsyncIterable<Uint8Array>): AsyncGenerator<FramePart> {
  let buffer = Buffer.alloc(0);
  let step: Step = 'magic';
  let left = 0;
  let checksum = false;
  let lastBlock = false;
  for await (const chunk of source) {
    buffer = buffer.length === 0 ? Buffer.from(chunk) : Buffer.concat([buffer, chunk]);
    for (;;) {
      if (step === 'skip' || step === 'body') {
        const n = Math.min(left, buffer.length);
        const bytes = buffer.subarray(0, n);
        buffer = buffer.subarray(n);
        left -= n;
        const ends = left === 0 && step === 'body' && lastBlock && !checksum;
        if (step === 'body' && (n > 0 || ends)) yield { bytes, last: ends };
        if (left > 0) break;
        if (step === 'skip') step = 'magic';
        else if (!lastBlock) step = 'block';
        else step = checksum ? 'checksum' : 'magic';
        continue;
      }
      const length = stepLength(step, buffer);
      if (length === undefined || buffer.length < length) break;
      const bytes = buffer.subarray(0, length);
      if (step === 'magic') {
        const magic = bytes.readUInt32LE(0);
        if (magic !== MAGIC && (magic & 0xfffffff0) >>> 0 !== SKIPPABLE) throw damaged();
        step = magic === MAGIC ? 'header' : 'skip-size';
        continue;
      }
      buffer = buffer.subarray(length);
      if (step === 'skip-size') {
        left = bytes.readUInt32LE(4);
        step = 'skip';
      } else if (step === 'header') {
        checksum = ((bytes[4] as number) & CHECKSUM_FLAG) !== 0;
        step = 'block';
        yield { bytes, last: false };
      } else if (step === 'block') {
        const head = bytes.readUIntLE(0, 3);
        lastBlock = (head & 1) === 1;
        const type = (head >> 1) & 3;
        if (type === 3) throw damaged();
        left = type === 1 ? 1 : head >> 3;
        step = 'body';
        yield { bytes, last: false };
      } else {
        step = 'magic';
        yield { bytes, last: true };
      }
    }
  }
  if (step !== 'magic' || buffer.length > 0) throw new VolbakError('INTEGRITY', 'the zstd stream is cut off');
}

/** How many bytes a step needs; undefined while that is not known. */
function stepLength(step: Step, buffer: Buffer): number | undefined {
  switch (step) {
    case 'magic':
    case 'checksum':
      return 4;
    case 'skip-size':
      return 8;
    case 'block':
      return 3;
    default:
      return buffer.length < 5 ? undefined : headerLength(buffer[4] as number);
  }
}

/** Length of a frame's header with its magic, from its descriptor byte. */
function headerLength(descriptor: number): number {
  const single = (descriptor & 0x20) !== 0;
  const dictionary = [0, 1, 2, 4][descriptor & 3] as number;
  const size = [single ? 1 : 0, 2, 4, 8][descriptor >> 6] as number;
  return 5 + (single ? 0 : 1) + dictionary + size;
}
