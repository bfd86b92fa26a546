import { createHash } from 'node:crypto';
import type { FramePool } from '../../codec/pool.ts';
import { segmentHeaderLength } from '../../repository/segments.ts';
import { damaged } from './damage.ts';
import type { StoredFrame } from './named-frames.ts';

/** Raw bytes of frames decoded at once. */
const BATCH_RAW = 8 * 1024 * 1024;

/** True if a segment belongs to this part: told by its name, so that parts stay the same while a repository grows. */
export function isSampled(segment: string, sample: { part: number; of: number } | undefined): boolean {
  return !sample || Number.parseInt(segment.slice(0, 8), 16) % sample.of === sample.part - 1;
}

/** Checks a segment's bytes against its name, and decodes frames in it; answers with their number. Raises INTEGRITY. */
export async function checkSegment(
  name: string,
  bytes: Buffer,
  frames: Iterable<StoredFrame>,
  pool: FramePool,
): Promise<number> {
  if (createHash('sha256').update(bytes).digest('hex') !== name)
    throw damaged('segment does not have the hash it is named by');
  if (segmentHeaderLength(bytes) === undefined) throw damaged('segment has no header');
  let batch: StoredFrame[] = [];
  let [raw, count] = [0, 0];
  const decode = async () => {
    if (batch.length > 0) await pool.decode(packed(bytes, batch));
    count += batch.length;
    batch = [];
    raw = 0;
  };
  for (const frame of frames) {
    if (frame.offset + frame.length > bytes.length)
      throw damaged('index names bytes beyond the end of its segment');
    batch.push(frame);
    raw += frame.raw;
    if (raw >= BATCH_RAW) await decode();
  }
  await decode();
  return count;
}

function packed(bytes: Buffer, frames: readonly StoredFrame[]): { stored: Buffer; frames: StoredFrame[] } {
  const stored = Buffer.concat(frames.map((f) => bytes.subarray(f.offset, f.offset + f.length)));
  let at = 0;
  const places = frames.map((frame) => {
    const offset = at;
    at += frame.length;
    return { ...frame, offset };
  });
  return { stored, frames: places };
}
