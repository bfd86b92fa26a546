import type { FileEntryWithStats, SFTPWrapper } from 'ssh2';
import { VolbakError } from '../core/errors.ts';
import { STATUS, statusOf } from './sftp-errors.ts';

/** Bytes of one request and requests on their way: a window of 4 MiB hides the latency of most lines. */
const BLOCK = 32 * 1024;
const IN_FLIGHT = 128;

export type Callback<T> = (error: Error | null | undefined, value: T) => void;

/** statvfs@openssh.com, as ssh2 gives it. */
export interface FileSystemStats {
  f_bavail: number | bigint;
  f_bsize: number | bigint;
  f_frsize: number | bigint;
  f_flag: number | bigint;
}

const READ_ONLY_FLAG = 1;

export function explainFull(stats: FileSystemStats, size: number, label: string): VolbakError | undefined {
  if (Number(stats.f_flag) & READ_ONLY_FLAG) {
    return new VolbakError('STORE_DENIED', `${label} lies on a read-only file system`);
  }
  const available = Number(stats.f_bavail) * Number(stats.f_frsize || stats.f_bsize);
  if (available > size + 64 * 1024) return undefined;
  return new VolbakError('STORE_FULL', `no space left in ${label}`, {
    hint: 'Make room; nothing of the earlier snapshots is lost.',
  });
}

export function isUnsupported(error: unknown): boolean {
  return (
    statusOf(error) === STATUS.UNSUPPORTED || /does not support|extended/i.test((error as Error).message)
  );
}

export function call<T>(run: (done: Callback<T>) => unknown): Promise<T> {
  return new Promise((resolve, reject) => {
    try {
      run((error, value) => (error ? reject(error) : resolve(value)));
    } catch (error) {
      reject(error);
    }
  });
}

export async function readDirectory(sftp: SFTPWrapper, path: string): Promise<FileEntryWithStats[]> {
  try {
    return await call<FileEntryWithStats[]>((done) => sftp.readdir(path, done));
  } catch (error) {
    if (statusOf(error) === STATUS.NO_SUCH_FILE) return [];
    throw error;
  }
}

export async function writeFile(
  sftp: SFTPWrapper,
  path: string,
  bytes: Uint8Array,
  signal: AbortSignal | undefined,
): Promise<void> {
  const handle = await call<Buffer>((done) => sftp.open(path, 'wx', { mode: 0o600 }, done));
  try {
    const data = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    await inFlight(data.length, signal, (at, length) =>
      call<void>((done) => sftp.write(handle, data, at, length, at, done as never)),
    );
    await call<void>((done) => sftp.ext_openssh_fsync(handle, done as never)).catch((error: unknown) => {
      if (!isUnsupported(error)) throw error;
    });
  } finally {
    await call<void>((done) => sftp.close(handle, done as never));
  }
}

export async function readBlocks(
  sftp: SFTPWrapper,
  handle: Buffer,
  offset: number,
  length: number,
  signal: AbortSignal | undefined,
): Promise<Buffer> {
  const out = Buffer.allocUnsafeSlow(length);
  const readAt = async (at: number, size: number): Promise<void> => {
    for (let done = 0; done < size; ) {
      const read = await new Promise<number>((resolve, reject) => {
        sftp.read(handle, out, at + done, size - done, offset + at + done, (error, count) =>
          error ? reject(error) : resolve(count),
        );
      });
      if (read === 0) throw new VolbakError('INTEGRITY', 'a file became shorter while it was read');
      done += read;
    }
  };
  await inFlight(length, signal, readAt);
  return out;
}

/** Runs one request a block, many on their way at the same time; the first failure ends it. */
async function inFlight(
  length: number,
  signal: AbortSignal | undefined,
  request: (at: number, size: number) => Promise<void>,
): Promise<void> {
  let next = 0;
  const lane = async () => {
    while (next < length) {
      signal?.throwIfAborted();
      const at = next;
      next += BLOCK;
      try {
        await request(at, Math.min(BLOCK, length - at));
      } catch (error) {
        next = length;
        throw error;
      }
    }
  };
  const lanes = Math.min(IN_FLIGHT, Math.ceil(length / BLOCK));
  const results = await Promise.allSettled(Array.from({ length: lanes }, lane));
  const failed = results.find((result) => result.status === 'rejected');
  if (failed) throw failed.reason;
}

/** Others may put the same name at the same time. */
const MOST_RIVALS = 20;

/** posix-rename replaces at once; without it a file that is there already has to go first. */
export async function replace(sftp: SFTPWrapper, temporary: string, path: string): Promise<void> {
  try {
    await call<void>((done) => sftp.ext_openssh_rename(temporary, path, done as never));
    return;
  } catch (error) {
    if (!isUnsupported(error)) throw error;
  }
  for (let rivals = 0; ; rivals++) {
    try {
      await call<void>((done) => sftp.rename(temporary, path, done as never));
      return;
    } catch (error) {
      if (statusOf(error) !== STATUS.FAILURE || rivals === MOST_RIVALS) throw error;
      await call<void>((done) => sftp.unlink(path, done as never)).catch(() => {});
    }
  }
}
