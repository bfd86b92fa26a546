import { type FileHandle, open } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { printable } from '../../core/bytes.ts';
import { messageOf, VolbakError } from '../../core/errors.ts';
import type { Attachment } from '../../engine/attachment.ts';
import { type Helper, WRITE_CAPABILITIES } from '../../engine/helper.ts';
import { createPipe, type Pipe } from '../../engine/lanes/pipe.ts';
import { runHelper, type StderrLog } from '../../engine/run-helper.ts';
import type { EngineContext } from '../engine-context.ts';
import { type ArchiveTraits, extractScript, NOT_ON_DISK } from './extract-script.ts';

/** What tar said while it extracted, though it ended well: something may not be as it was. */
export type ExtractWarnings = string[];

/**
 * Extracts a tar into the directory `path` of the helper, which is in an attached volume, or above the `roots` of all that it
 * fills. Returns when it is on the disk. `traits.compressed`: it travels through gzip, which the helper must have; not for the
 * pipe lane. Raises the source's error, or HELPER_FAILED.
 */
export async function extractInto(
  ctx: EngineContext,
  attachment: Attachment,
  path: string,
  tar: AsyncIterable<Uint8Array>,
  traits: ArchiveTraits = {},
  roots: Iterable<string> = [path],
): Promise<ExtractWarnings> {
  const pipe = ctx.lane === 'pipe' ? await createPipe() : undefined;
  const spec = {
    image: ctx.image,
    purpose: 'extract',
    script: extractScript(traits),
    args: [path, pipe?.helperPath ?? '', ...roots],
    stdin: true,
    capabilities: WRITE_CAPABILITIES,
    mounts: [...attachment.mounts, ...(pipe ? [pipe.mount] : [])],
  };
  try {
    const run = await runHelper(
      ctx.engine,
      spec,
      (helper) => feed(helper, pipe, tar, traits.compressed === true),
      ctx.signal,
    );
    return judge(run.exitCode, run.stderr, run.result);
  } finally {
    await pipe?.release();
    await pipe?.remove();
  }
}

/** Feeds the helper; what stops it from taking more is answered, as its exit code tells why. */
async function feed(
  helper: Helper,
  pipe: Pipe | undefined,
  tar: AsyncIterable<Uint8Array>,
  compressed: boolean,
): Promise<unknown> {
  const output = (async () => {
    for await (const _ of helper.stdout);
  })();
  output.catch(() => {});
  helper.stdin.on('error', () => {});
  const source = watched(tar);
  let refused: unknown;
  try {
    if (pipe) {
      helper.stdin.end();
      await writePipe(helper, pipe, source);
    } else {
      const plain = Readable.from(source, { objectMode: false, highWaterMark: 1024 * 1024 });
      if (compressed) await pipeline(plain, createGzip({ level: 1 }), helper.stdin);
      else await pipeline(plain, helper.stdin);
    }
  } catch (error) {
    if (source.failure) throw source.failure;
    refused = error;
  }
  await output;
  return refused;
}

/** An async iterable that remembers whether it was the source that failed, not the one who reads it. */
function watched(source: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> & { failure?: unknown } {
  const result: AsyncIterable<Uint8Array> & { failure?: unknown } = {
    async *[Symbol.asyncIterator]() {
      const iterator = source[Symbol.asyncIterator]();
      try {
        for (;;) {
          const next = await iterator.next().catch((error: unknown) => {
            result.failure = error;
            throw error;
          });
          if (next.done) return;
          yield next.value;
        }
      } finally {
        await iterator.return?.().catch(() => {});
      }
    },
  };
  return result;
}

async function writePipe(helper: Helper, pipe: Pipe, source: AsyncIterable<Uint8Array>): Promise<void> {
  // Opening waits for the helper to open its end; one that ended before it did must not leave us waiting.
  let gone = false;
  const release = helper.exit
    .catch(() => {})
    .then(() => {
      gone = true;
      return pipe.release();
    });
  let file: FileHandle | undefined;
  try {
    file = await open(pipe.path, 'w');
    if (gone) throw new Error('it ended before it had read anything');
    for await (const bytes of source) {
      for (let at = 0; at < bytes.length; ) at += (await file.write(bytes, at)).bytesWritten;
    }
  } finally {
    await file?.close();
  }
  await release;
}

function judge(exitCode: number, stderr: StderrLog, refused: unknown): ExtractWarnings {
  const lines = stderr.lines;
  if (exitCode === 0 && refused === undefined) return lines.map(printable);
  // A file that fits in part is the first that tar complains about, in words of its own.
  const full = lines.find((line) =>
    /No space left on device|Disk quota exceeded|: Wrote only \d+ of/.test(line),
  );
  const notOnDisk = exitCode === NOT_ON_DISK;
  const why =
    full ??
    (notOnDisk ? lines.at(-1) : lines.find((line) => !line.includes('Exiting with failure'))) ??
    messageOf(refused ?? 'it said nothing');
  throw new VolbakError(
    'HELPER_FAILED',
    notOnDisk
      ? `writing to the volume's disk failed: ${printable(why)}`
      : `writing into the volume failed: the helper ended with exit code ${exitCode}: ${printable(why)}`,
    hintFor(full !== undefined, notOnDisk),
  );
}

function hintFor(isFull: boolean, notOnDisk: boolean): { hint?: string } {
  if (isFull) return { hint: "Make room on the engine's disk." };
  if (!notOnDisk) return {};
  return {
    hint: "The kernel's log on the engine's machine says more. The error may be another program's on the same file system: try again.",
  };
}
