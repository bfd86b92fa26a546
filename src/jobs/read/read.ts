import { Worker } from 'node:worker_threads';
import type { RecordSpool } from '../../core/chunk-spool.ts';
import { type ErrorCode, VolbakError } from '../../core/errors.ts';
import { workerUrl } from '../../core/worker-url.ts';
import type { Attachment } from '../../engine/attachment.ts';
import type { Helper } from '../../engine/helper.ts';
import { createPipe, type Pipe } from '../../engine/lanes/pipe.ts';
import { beginHelper, letGo, type StartedHelper, useHelper } from '../../engine/run-helper.ts';
import type { EngineContext } from '../engine-context.ts';
import { judgeTar, type TarVerdict } from './judge.ts';
import type { BatchReply, ReaderReply, ReaderRequest, ReaderSetup } from './messages.ts';
import { sendNames } from './names.ts';
import type { SlabMemory } from './slabs.ts';
import { tarHelper } from './tar-helper.ts';

type ReaderEnd = Extract<ReaderReply, { kind: 'end' }>;

/** What tar is asked to archive of a volume. */
export interface Reading {
  fsType: string;
  /** Records of the listing to read. */
  spool: RecordSpool;
  /** Numbers of the records before which something is not read; none: all is read. */
  gaps?: Uint32Array<ArrayBuffer>;
  /** See Listing. */
  plain: boolean;
}

export interface ReadOptions {
  /** Memory for frames; without it only members are told. */
  memory?: SlabMemory;
  /** Called for each batch in order, not waited for: freeing slabs is what holds the reader back. */
  onBatch(batch: BatchReply): void;
  /** Rejects when handling of a batch failed: reading stops. */
  failed?: Promise<never>;
}

export interface ReadResult extends TarVerdict {
  /** Bytes of the tar, without tar's padding at its end. */
  bytes: number;
}

/**
 * tar in a helper, and a thread of its own that scans and cuts what it archives. Both take a moment to start, so they may be
 * started before it is known what they are to read. Must be closed, whether it has read or not.
 */
export class VolumeReader {
  readonly #ctx: EngineContext;
  readonly #pipe: Promise<Pipe | undefined>;
  readonly #started: Promise<StartedHelper>;
  readonly #worker = new Worker(workerUrl(import.meta.url, './reader-worker'));
  readonly #outcome: Promise<ReaderEnd | VolbakError>;
  #onBatch: ReadOptions['onBatch'] = () => {};

  /** Of the directory `path` of a volume that was listed so. */
  constructor(
    ctx: EngineContext,
    attachment: Attachment,
    path: string,
    listed: Pick<Reading, 'fsType' | 'plain'>,
  ) {
    this.#ctx = ctx;
    this.#pipe = ctx.lane === 'pipe' ? createPipe() : Promise.resolve(undefined);
    this.#started = this.#pipe.then((pipe) =>
      beginHelper(ctx.engine, tarHelper(ctx, 'read', attachment, path, listed, pipe)),
    );
    this.#outcome = listenTo(this.#worker, (batch) => this.#onBatch(batch));
    for (const promise of [this.#pipe, this.#started, this.#outcome]) promise.catch(() => {});
  }

  /** Reads the listed members. To be called once. */
  async read(reading: Reading, options: ReadOptions): Promise<ReadResult> {
    const pipe = await this.#pipe;
    this.#onBatch = options.onBatch;
    const setup: ReaderSetup = {
      kind: 'setup',
      fifo: pipe?.path,
      memory: options.memory,
      listing: reading.spool.chunks,
      gaps: reading.gaps ?? new Uint32Array(),
      plain: reading.plain,
    };
    const run = await useHelper(
      await this.#started,
      (helper) => {
        this.#worker.postMessage(setup);
        return drive(helper, this.#worker, pipe, reading.spool, this.#outcome, options);
      },
      this.#ctx.signal,
    );
    const verdict = judgeTar(run.exitCode, run.stderr, run.result);
    return { ...verdict, bytes: (run.result as ReaderEnd).bytes };
  }

  /** Raises what removing the helper raises, after all else is put away. */
  async close(): Promise<void> {
    const pipe = await this.#pipe.catch(() => undefined);
    const started = await this.#started.catch(() => undefined);
    try {
      if (started) await letGo(started);
    } finally {
      await released(pipe, this.#worker.terminate());
      await pipe?.remove();
    }
  }
}

/** How often whoever waits at a FIFO is let go on: it may come to it only after the first time. */
const RELEASE_MS = 50;

/** What `end` settles as; until then nobody has to wait at the FIFO for a helper that is gone. */
async function released<T>(pipe: Pipe | undefined, end: Promise<T>): Promise<T> {
  let settled = false;
  const settle = () => {
    settled = true;
  };
  const watched = end.then(settle, settle);
  while (!settled) {
    await pipe?.release();
    await Promise.race([watched, ...(pipe ? [after(RELEASE_MS)] : [])]);
  }
  return end;
}

/** Reads the listed members of a volume. */
export async function readVolume(
  ctx: EngineContext,
  attachment: Attachment,
  path: string,
  reading: Reading,
  options: ReadOptions,
): Promise<ReadResult> {
  ctx.signal?.throwIfAborted();
  const reader = new VolumeReader(ctx, attachment, path, reading);
  try {
    return await reader.read(reading, options);
  } finally {
    await reader.close();
  }
}

/** The end as the thread tells it; its failures are judged together with the helper's exit code. */
function listenTo(worker: Worker, onBatch: ReadOptions['onBatch']): Promise<ReaderEnd | VolbakError> {
  return new Promise((resolve, reject) => {
    worker.on('message', (reply: ReaderReply) => {
      if (reply.kind === 'batch') onBatch(reply);
      else if (reply.kind === 'end') resolve(reply);
      else if (reply.kind === 'failed') resolve(new VolbakError(reply.code as ErrorCode, reply.message));
    });
    worker.on('error', reject);
    worker.on('exit', () => reject(new VolbakError('UNEXPECTED', 'the reading thread ended')));
  });
}

async function drive(
  helper: Helper,
  worker: Worker,
  pipe: Pipe | undefined,
  spool: RecordSpool,
  outcome: Promise<ReaderEnd | VolbakError>,
  options: ReadOptions,
): Promise<ReaderEnd | VolbakError> {
  const names = sendNames(helper, spool);
  const output = pipe ? drain(helper) : forward(helper, worker);
  const work = async () => {
    await Promise.all([names, output]);
    await helper.exit;
    // A helper that never opened the FIFO leaves the thread waiting for it.
    return await released(pipe, outcome);
  };
  const failure = outcome.then((end) => (end instanceof VolbakError ? end : new Promise<never>(() => {})));
  const first = await Promise.race([work(), failure, ...(options.failed ? [options.failed] : [])]);
  if (first instanceof VolbakError) {
    // The thread gave up: either the tar is damaged, or the helper died and its exit code tells more.
    const ended = await Promise.race([helper.exit, after(2000)]);
    if (ended === undefined) await helper.remove();
    await output.catch(() => {});
  }
  return first;
}

function after(ms: number): Promise<undefined> {
  return new Promise((resolve) => setTimeout(() => resolve(undefined), ms).unref());
}

async function drain(helper: Helper): Promise<void> {
  for await (const _ of helper.stdout);
}

/** Chunks on their way to the thread at the same time. */
const IN_FLIGHT = 64;

/** The attach lane: hands the helper's output to the thread, no faster than it takes it. */
async function forward(helper: Helper, worker: Worker): Promise<void> {
  let sent = 0;
  let taken = 0;
  let wake = () => {};
  worker.on('message', (reply: ReaderReply) => {
    if (reply.kind === 'taken') taken++;
    wake();
  });
  let gone = false;
  worker.on('exit', () => {
    gone = true;
    wake();
  });
  for await (const bytes of helper.stdout) {
    worker.postMessage({ kind: 'bytes', bytes } satisfies ReaderRequest);
    sent++;
    while (sent - taken >= IN_FLIGHT && !gone) {
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  }
  worker.postMessage({ kind: 'end' } satisfies ReaderRequest);
}
