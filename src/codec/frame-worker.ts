import { hash } from 'node:crypto';
import { parentPort, workerData } from 'node:worker_threads';
import { collectYoungGarbage } from '../core/collect-garbage.ts';
import { isVolbakError, messageOf, VolbakError } from '../core/errors.ts';
import { FrameTable } from '../core/frame-table.ts';
import { ContentDigests } from './content-digests.ts';
import type {
  DecodeBatch,
  EncodeBatch,
  EncodedReply,
  WorkerReply,
  WorkerRequest,
  WorkerSetup,
} from './messages.ts';
import { OutputRing } from './output-ring.ts';
import { type FrameCodec, loadCodec } from './zstd.ts';

const setup = workerData as WorkerSetup;
const table = setup.table && FrameTable.attach(setup.table);
const codec = await loadCodec(setup.codec);

const ring = new OutputRing(setup.ring);

/** A frame that does not compress grows by what zstd's own headers take. */
function mostStored(frames: Uint32Array): number {
  let most = 0;
  for (let i = 1; i < frames.length; i += 2)
    most += (frames[i] as number) + ((frames[i] as number) >> 6) + 64;
  return most;
}

function encode({ bytes, frames }: EncodeBatch, codec: FrameCodec): EncodedReply {
  const { slot, bytes: out } = ring.take(mostStored(frames));
  const count = frames.length / 2;
  const hashes = Buffer.allocUnsafeSlow(count * 32);
  const known = new Int32Array(count).fill(-1);
  const lengths = new Uint32Array(count);
  let total = 0;
  for (let i = 0; i < count; i++) {
    const offset = frames[i * 2] ?? 0;
    const raw = bytes.subarray(offset, offset + (frames[i * 2 + 1] ?? 0));
    hashes.set(hash('sha256', raw, 'buffer'), i * 32);
    known[i] = table?.find(hashes, i * 32) ?? -1;
    if ((known[i] as number) >= 0) continue;
    const stored = codec.compress(raw);
    out.set(stored, total);
    lengths[i] = stored.length;
    total += stored.length;
  }
  return { hashes, known, lengths, stored: out.subarray(0, total), slot };
}

const contents = new ContentDigests();

function decode({ stored, frames, out: memory }: DecodeBatch, codec: FrameCodec): Uint8Array {
  const length = frames.reduce((sum, frame) => sum + frame.raw, 0);
  const out = memory ? new Uint8Array(memory, 0, length) : new Uint8Array(length);
  let at = 0;
  for (const frame of frames) {
    if (frame.zeros) {
      out.fill(0, at, at + frame.raw);
      at += frame.raw;
      continue;
    }
    const raw = codec.decompress(stored.subarray(frame.offset, frame.offset + frame.length), frame.raw);
    if (hash('sha256', raw) !== frame.sha256) {
      throw new VolbakError('INTEGRITY', `frame ${frame.sha256} holds other bytes than were written`);
    }
    out.set(raw, at);
    at += raw.length;
  }
  return out;
}

function answer(request: WorkerRequest): void {
  try {
    if (request.kind === 'encode') {
      const result = encode(request, codec);
      reply({ id: request.id, kind: 'encoded', result });
    } else if (request.kind === 'digest') {
      reply({ id: request.id, kind: 'digested', digests: contents.take(request) });
    } else {
      const raw = decode(request, codec);
      reply({ id: request.id, kind: 'decoded', raw }, raw.buffer instanceof ArrayBuffer ? [raw.buffer] : []);
    }
  } catch (error) {
    const code = isVolbakError(error) ? error.code : 'UNEXPECTED';
    reply({ id: request.id, kind: 'failed', code, message: messageOf(error) });
  }
}

function reply(message: WorkerReply, transfer: ArrayBuffer[] = []): void {
  parentPort?.postMessage(message, transfer);
}

parentPort?.on('message', (request: WorkerRequest) => {
  answer(request);
  // What was decoded has changed hands, and only the collector gives the memory of the input back.
  if (request.kind === 'decode') collectYoungGarbage();
});
