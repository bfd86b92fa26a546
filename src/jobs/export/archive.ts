import { once } from 'node:events';
import { type FileHandle, open, rename, unlink } from 'node:fs/promises';
import { PassThrough, Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import zlib from 'node:zlib';
import { messageOf, VolbakError } from '../../core/errors.ts';

export type ArchiveFormat = 'tar' | 'tar.gz' | 'tar.zst';

/** Where an exported archive goes. */
export interface ArchiveSink {
  write(bytes: Uint8Array): Promise<void>;
  /** All was written: a file gets its name only now. */
  finish(): Promise<void>;
  /** Something failed: no half archive is left under the name. */
  abandon(): Promise<void>;
}

function compressor(format: ArchiveFormat): (Writable & NodeJS.ReadableStream) | undefined {
  if (format === 'tar.gz') return zlib.createGzip();
  if (format === 'tar') return new PassThrough({ highWaterMark: 1024 * 1024 });
  if (typeof zlib.createZstdCompress !== 'function') {
    throw new VolbakError('USAGE', 'this Node has no zstd of its own, which tar.zst needs', {
      hint: 'Use --format tar.gz, or Node 22.15 or newer.',
    });
  }
  return zlib.createZstdCompress({ params: { [zlib.constants.ZSTD_c_checksumFlag]: 1 } });
}

/** A stream into an open file, which stays open at its end: FileHandle's own with `autoClose: false` never tells that end. */
function writeInto(file: FileHandle): Writable {
  return new Writable({
    highWaterMark: 1024 * 1024,
    write: (bytes: Buffer, _, done) => void file.writeFile(bytes).then(() => done(), done),
  });
}

/** The format that a file's name asks for: plain tar where it says nothing. */
export function formatOfName(name: string): ArchiveFormat {
  if (/\.(tar\.gz|tgz)$/i.test(name)) return 'tar.gz';
  return /\.(tar\.zst|tzst)$/i.test(name) ? 'tar.zst' : 'tar';
}

/** Opens a file, or any writable stream, for an archive. */
export async function openArchive(target: string | Writable, format: ArchiveFormat): Promise<ArchiveSink> {
  const stage = compressor(format) as Writable & NodeJS.ReadableStream;
  if (typeof target !== 'string') {
    const done = pipeline(stage, target, { end: false });
    return sinkOf(
      stage,
      done,
      async () => {},
      async () => {},
    );
  }
  const temporary = `${target}.part-${process.pid}`;
  let file: FileHandle;
  try {
    file = await open(temporary, 'wx', 0o600);
  } catch (error) {
    throw new VolbakError('USAGE', `cannot write ${target}: ${messageOf(error)}`, { cause: error });
  }
  const done = pipeline(stage, writeInto(file));
  return sinkOf(
    stage,
    done,
    async () => {
      await file.sync();
      await file.close();
      await rename(temporary, target);
    },
    async () => {
      await file.close().catch(() => {});
      await unlink(temporary).catch(() => {});
    },
  );
}

function sinkOf(
  stage: Writable,
  done: Promise<void>,
  finish: () => Promise<void>,
  abandon: () => Promise<void>,
): ArchiveSink {
  const failed = done.catch((error: unknown) => {
    throw new VolbakError('UNEXPECTED', `cannot write the archive: ${messageOf(error)}`, { cause: error });
  });
  failed.catch(() => {});
  return {
    async write(bytes) {
      if (!stage.write(bytes)) await Promise.race([once(stage, 'drain'), failed.then(() => {})]);
    },
    async finish() {
      stage.end();
      await failed;
      await finish();
    },
    async abandon() {
      stage.destroy();
      await abandon();
    },
  };
}
