import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { RecordSpool } from '../../core/chunk-spool.ts';
import type { Helper } from '../../engine/helper.ts';
import { pathOfRecord } from '../../tar/listing.ts';

/** tar reads the names as it goes, so they are sent with backpressure. That it stopped reading, its exit code tells. */
export async function sendNames(helper: Helper, spool: RecordSpool): Promise<void> {
  await pipeline(Readable.from(nameChunks(spool), { objectMode: false }), helper.stdin).catch(() => {});
}

function* nameChunks(spool: RecordSpool): Generator<Buffer> {
  let batch = '';
  for (const record of spool.records()) {
    batch += `${pathOfRecord(record)}\0`;
    if (batch.length < 64 * 1024) continue;
    yield Buffer.from(batch, 'latin1');
    batch = '';
  }
  yield Buffer.from(batch, 'latin1');
}
