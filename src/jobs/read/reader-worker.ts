import { closeSync, constants, openSync, readSync } from 'node:fs';
import { parentPort } from 'node:worker_threads';
import { RecordSpool } from '../../core/chunk-spool.ts';
import { isVolbakError, messageOf } from '../../core/errors.ts';
import { ChainScanner } from '../../tar/chain.ts';
import { TarScanner } from '../../tar/scanner.ts';
import { Batcher } from './batcher.ts';
import { Framer } from './framer.ts';
import { ListingJoin } from './listing-join.ts';
import type { ReaderReply, ReaderRequest, ReaderSetup } from './messages.ts';

// A thread of its own for reading, scanning and cutting: with the thread pool busy each read would wait its turn
// behind compression, and a blocking read into one large buffer is the fastest way out of a FIFO.

const send = (reply: ReaderReply) => parentPort?.postMessage(reply);
const READ_SIZE = 1024 * 1024;

/** Takes the bytes of a tar and tells what is in it. */
class Reading {
  readonly #batcher: Batcher;
  readonly #listing: ListingJoin;
  readonly #scanner: TarScanner | ChainScanner;

  constructor({ memory, listing, gaps, plain }: ReaderSetup) {
    this.#batcher = new Batcher(memory, send);
    this.#listing = new ListingJoin(new RecordSpool(listing), gaps);
    const framer = new Framer(this.#batcher, this.#listing, memory === undefined);
    this.#scanner = plain ? new ChainScanner(framer) : new TarScanner(framer);
  }

  push(bytes: Buffer): void {
    this.#scanner.push(bytes);
  }

  finish(): void {
    this.#scanner.finish();
    this.#listing.finish();
    this.#batcher.finish(this.#listing.missing, this.#listing.missingCount);
  }
}

function readFifo(path: string, reading: Reading): void {
  const fd = openSync(path, constants.O_RDONLY);
  try {
    const buffer = Buffer.allocUnsafeSlow(READ_SIZE);
    for (let n = readSync(fd, buffer); n > 0; n = readSync(fd, buffer)) reading.push(buffer.subarray(0, n));
  } finally {
    closeSync(fd);
  }
  reading.finish();
}

let reading: Reading | undefined;

function take(request: ReaderRequest): void {
  if (request.kind === 'setup') {
    reading = new Reading(request);
    if (request.fifo !== undefined) readFifo(request.fifo, reading);
  } else if (request.kind === 'end') {
    reading?.finish();
  } else {
    const { buffer, byteOffset, byteLength } = request.bytes;
    reading?.push(Buffer.from(buffer, byteOffset, byteLength));
    send({ kind: 'taken' });
  }
}

parentPort?.on('message', (request: ReaderRequest) => {
  try {
    take(request);
  } catch (error) {
    send({
      kind: 'failed',
      code: isVolbakError(error) ? error.code : 'HELPER_FAILED',
      message: messageOf(error),
    });
    parentPort?.close();
  }
});
