import { createReadStream } from 'node:fs';
import { Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { messageOf, VolbakError } from '../../core/errors.ts';
import type { Attachment } from '../../engine/attachment.ts';
import type { Helper } from '../../engine/helper.ts';
import { createPipe, type Pipe } from '../../engine/lanes/pipe.ts';
import { runHelper } from '../../engine/run-helper.ts';
import { TarScanner, type TarSink } from '../../tar/scanner.ts';
import type { EngineContext } from '../engine-context.ts';
import { judgeTar, type TarVerdict } from './judge.ts';
import type { Listing } from './listing.ts';
import { ListingJoin } from './listing-join.ts';
import { sendNames } from './names.ts';
import { tarHelper } from './tar-helper.ts';

export interface StreamOptions {
  /** Takes the members, too. */
  sink?: TarSink;
  /** The helper compresses, which must have gzip; what `onChunk` gets is plain. Not for the pipe lane. */
  compressed?: boolean;
}

/**
 * The tar of a volume as a stream, straight from the helper, for whoever passes it on (export, migrate).
 * `onChunk` takes the bytes and may make the helper wait; the verdict comes when all went well.
 */
export async function streamVolume(
  ctx: EngineContext,
  attachment: Attachment,
  path: string,
  listing: Pick<Listing, 'spool' | 'fsType' | 'plain'>,
  onChunk: (bytes: Buffer) => Promise<void>,
  { sink, compressed = false }: StreamOptions = {},
): Promise<TarVerdict> {
  if (listing.plain) {
    throw new VolbakError(
      'HELPER_FAILED',
      `the helper image ${ctx.image} has no GNU tar to write an archive with`,
      {
        hint: '`volbak helper` tells which image serves.',
      },
    );
  }
  const pipe = ctx.lane === 'pipe' ? await createPipe() : undefined;
  const spec = tarHelper(ctx, 'export', attachment, path, listing, pipe, compressed);
  const join = new ListingJoin(listing.spool);
  const scanner = new TarScanner({
    member: (member, header) => {
      join.join(member);
      sink?.member(member, header);
    },
    content: (bytes) => sink?.content(bytes),
    memberEnd: (padding) => sink?.memberEnd(padding),
    end: () => sink?.end(),
  });
  try {
    const run = await runHelper(
      ctx.engine,
      spec,
      async (helper) => {
        const names = sendNames(helper, listing.spool);
        for await (const bytes of compressed ? plain(helper) : output(helper, pipe)) {
          scanner.push(bytes);
          await onChunk(bytes);
        }
        await names;
      },
      ctx.signal,
    );
    // A helper that failed says more than an archive that is cut off.
    if (run.exitCode <= 2 && run.exitCode !== 0 && !scanner.ended) judgeTar(3, run.stderr, join);
    if (run.exitCode <= 2) scanner.finish();
    join.finish();
    return judgeTar(run.exitCode, run.stderr, join);
  } finally {
    await pipe?.release();
    await pipe?.remove();
  }
}

/** What the helper compressed. Raises HELPER_FAILED where that is damaged or cut off. */
async function* plain(helper: Helper): AsyncGenerator<Buffer> {
  const gunzip = createGunzip({ chunkSize: 256 * 1024 });
  const compressed = Readable.from(helper.stdout, { objectMode: false });
  compressed.on('error', (error) => gunzip.destroy(error));
  try {
    yield* compressed.pipe(gunzip) as AsyncIterable<Buffer>;
  } catch (error) {
    throw new VolbakError('HELPER_FAILED', `what the helper compressed is damaged: ${messageOf(error)}`, {
      cause: error,
    });
  }
}

async function* output(helper: Helper, pipe: Pipe | undefined): AsyncGenerator<Buffer> {
  if (!pipe) {
    yield* helper.stdout;
    return;
  }
  const drained = (async () => {
    for await (const _ of helper.stdout);
  })();
  drained.catch(() => {});
  // A helper that ends without opening the FIFO must not leave us waiting for it.
  const released = helper.exit.catch(() => {}).then(() => pipe.release());
  yield* createReadStream(pipe.path, { highWaterMark: 64 * 1024 }) as AsyncIterable<Buffer>;
  await Promise.all([drained, released]);
}
