import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { type ErrorCode, VolbakError } from '../core/errors.ts';
import { workerUrl } from '../core/worker-url.ts';
import type {
  ContentBatch,
  DecodeBatch,
  EncodeBatch,
  EncodedBatch,
  EncodedReply,
  WorkerReply,
  WorkerRequest,
  WorkerSetup,
} from './messages.ts';

import { freeSlot, ringStates } from './output-ring.ts';

export type { ContentBatch, DecodeBatch, EncodeBatch, EncodedBatch } from './messages.ts';

/** Hashing and (de)compression of frames in threads. Answers may come in any order. */
export interface FramePool {
  /** How many batches keep all threads busy. */
  readonly width: number;
  /** Whoever takes the answer MUST release it; threads with several unreleased answers wait. */
  encode(batch: EncodeBatch): Promise<EncodedBatch>;
  /** The raw frames, one after another, each checked against its SHA-256. Raises INTEGRITY. */
  decode(batch: DecodeBatch): Promise<Uint8Array>;
  /** SHA-256, in hex, of the contents that end in this batch. Streams have numbers of `nextStream`. */
  digest(batch: ContentBatch): Promise<string[]>;
  nextStream(): number;
  close(): Promise<void>;
}

export interface PoolOptions {
  /** Shared memory of the FrameTable that says which frames are known already. */
  table?: SharedArrayBuffer;
  threads?: number;
  codec?: 'node' | 'wasm';
}

interface Pending {
  resolve(value: never): void;
  reject(error: Error): void;
}

interface Lane {
  worker: Worker;
  pending: Map<number, Pending>;
  /** Set when the thread ended: it will answer nothing more. */
  failure?: Error;
}

/** Starts a pool of frame workers: as many as there are cores, four at the most. */
export function createFramePool(options: PoolOptions = {}): FramePool {
  const width = options.threads ?? Math.max(1, Math.min(4, availableParallelism()));
  const lanes: Lane[] = Array.from({ length: width }, () => startLane(options));
  let nextId = 1;
  let streams = 0;
  const idlest = () => lanes.reduce((a, b) => (b.pending.size < a.pending.size ? b : a));

  function send<T>(
    request: Omit<WorkerRequest, 'id'>,
    transfer: ArrayBuffer[],
    lane: Lane = idlest(),
  ): Promise<T> {
    if (lane.failure) return Promise.reject(lane.failure);
    const id = nextId++;
    return new Promise<T>((resolve, reject) => {
      lane.pending.set(id, { resolve, reject });
      lane.worker.postMessage({ ...request, id }, transfer);
    });
  }

  return {
    width,
    encode: (batch) => send<EncodedBatch>({ kind: 'encode', ...batch }, transferable(batch.bytes)),
    decode: (batch) => send<Uint8Array>({ kind: 'decode', ...batch }, transferable(batch.stored)),
    digest: (batch) => send<string[]>({ kind: 'digest', ...batch }, [], lanes[batch.stream % width] as Lane),
    nextStream: () => streams++,
    close: async () => {
      await Promise.all(lanes.map((lane) => lane.worker.terminate()));
    },
  };
}

/** Plain memory that is a buffer of its own changes hands; shared memory and slices are left alone. */
function transferable(bytes: Uint8Array): ArrayBuffer[] {
  const { buffer } = bytes;
  return buffer instanceof ArrayBuffer && buffer.byteLength === bytes.byteLength ? [buffer] : [];
}

function startLane({ table, codec }: PoolOptions): Lane {
  const ring = ringStates();
  const workerData: WorkerSetup = { table, codec, ring };
  const worker = new Worker(workerUrl(import.meta.url, './frame-worker'), { workerData });
  const lane: Lane = { worker, pending: new Map() };
  worker.on('message', (reply: WorkerReply) => {
    const pending = lane.pending.get(reply.id);
    lane.pending.delete(reply.id);
    if (reply.kind === 'failed') pending?.reject(new VolbakError(reply.code as ErrorCode, reply.message));
    else if (reply.kind === 'encoded') pending?.resolve(revive(reply.result, ring) as never);
    else pending?.resolve((reply.kind === 'decoded' ? reply.raw : reply.digests) as never);
  });
  const fail = (error: Error) => {
    lane.failure ??= error;
    for (const pending of lane.pending.values()) pending.reject(error);
    lane.pending.clear();
  };
  worker.on('error', fail);
  worker.on('exit', () => fail(new VolbakError('UNEXPECTED', 'a compression thread ended')));
  return lane;
}

/** Buffers arrive from a thread as plain Uint8Arrays. */
function revive(result: EncodedReply, ring: SharedArrayBuffer): EncodedBatch {
  const { known, lengths, slot } = result;
  const release = () => freeSlot(ring, slot);
  return { hashes: asBuffer(result.hashes), stored: asBuffer(result.stored), known, lengths, release };
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
