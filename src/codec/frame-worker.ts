import { createHash } from 'node:crypto';
import { parentPort, workerData } from 'node:worker_threads';
import { isVolbakError, messageOf, VolbakError } from '../core/errors.ts';
import { FrameTable } from '../core/frame-table.ts';
import type {
  DecodeBatch,
  EncodeBatch,
  EncodedBatch,
  WorkerReply,
  WorkerRequest,
  WorkerSetup,
} from './messages.ts';
import { type FrameCodec, loadCodec } from './zstd.ts';

const setup = workerData as WorkerSetup;
const table = setup.table && FrameTable.attach(setup.table);
const codec = await loadCodec(setup.codec);

function sha256(bytes: Uint8Array): Buffer {
  return createHash('sha256').update(bytes).digest();
}

function encode({ bytes, frames }: EncodeBatch, codec: FrameCodec): EncodedBatch {
  const count = frames.length / 2;
  const result: EncodedBatch = {
    hashes: Buffer.alloc(count * 32),
    known: new Int32Array(count).fill(-1),
    lengths: new Uint32Array(count),
    stored: Buffer.alloc(0),
  };
  const parts: Uint8Array[] = [];
  for (let i = 0; i < count; i++) {
    const offset = frames[i * 2] ?? 0;
    const raw = bytes.subarray(offset, offset + (frames[i * 2 + 1] ?? 0));
    result.hashes.set(sha256(raw), i * 32);
    const known = table?.find(result.hashes, i * 32) ?? -1;
    result.known[i] = known;
    if (known >= 0) continue;
    const stored = codec.compress(raw);
    result.lengths[i] = stored.length;
    parts.push(stored);
  }
  result.stored = Buffer.concat(parts);
  return result;
}

function decode({ stored, frames }: DecodeBatch, codec: FrameCodec): Uint8Array {
  const out = new Uint8Array(frames.reduce((sum, frame) => sum + frame.raw, 0));
  let at = 0;
  for (const frame of frames) {
    const raw = codec.decompress(stored.subarray(frame.offset, frame.offset + frame.length), frame.raw);
    if (sha256(raw).toString('hex') !== frame.sha256) {
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
    } else {
      const raw = decode(request, codec);
      reply({ id: request.id, kind: 'decoded', raw }, [raw.buffer as ArrayBuffer]);
    }
  } catch (error) {
    const code = isVolbakError(error) ? error.code : 'UNEXPECTED';
    reply({ id: request.id, kind: 'failed', code, message: messageOf(error) });
  }
}

function reply(message: WorkerReply, transfer: ArrayBuffer[] = []): void {
  parentPort?.postMessage(message, transfer);
}

parentPort?.on('message', answer);
