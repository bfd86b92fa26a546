import { closeSync, constants, openSync, readSync } from 'node:fs';
import { parentPort, workerData } from 'node:worker_threads';
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

const setup = workerData as ReaderSetup;
const send = (reply: ReaderReply) => parentPort?.postMessage(reply);

const batcher = new Batcher(setup.memory, send);
const listing = new ListingJoin(new RecordSpool(setup.listing), setup.gaps);
const framer = new Framer(batcher, listing, setup.memory === undefined);
const scanner = setup.plain ? new ChainScanner(framer) : new TarScanner(framer);
const READ_SIZE = 1024 * 1024;

function finish(): void {
  scanner.finish();
  listing.finish();
  batcher.finish(listing.missing, listing.missingCount);
}

function guarded(step: () => void): void {
  try {
    step();
  } catch (error) {
    send({
      kind: 'failed',
      code: isVolbakError(error) ? error.code : 'HELPER_FAILED',
      message: messageOf(error),
    });
    parentPort?.close();
  }
}

function readFifo(path: string): void {
  const fd = openSync(path, constants.O_RDONLY);
  try {
    const buffer = Buffer.allocUnsafeSlow(READ_SIZE);
    for (let n = readSync(fd, buffer); n > 0; n = readSync(fd, buffer)) scanner.push(buffer.subarray(0, n));
  } finally {
    closeSync(fd);
  }
  finish();
}

if (setup.fifo !== undefined) {
  const { fifo } = setup;
  guarded(() => readFifo(fifo));
} else {
  parentPort?.on('message', (request: ReaderRequest) =>
    guarded(() => {
      if (request.kind === 'end') return finish();
      const { buffer, byteOffset, byteLength } = request.bytes;
      scanner.push(Buffer.from(buffer, byteOffset, byteLength));
      send({ kind: 'taken' });
    }),
  );
}
