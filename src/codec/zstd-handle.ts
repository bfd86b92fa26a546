import zlib from 'node:zlib';
import { MAX_RAW_FRAME } from './limits.ts';

/**
 * One zstd context of node:zlib used for frame after frame. The public one-shot function makes and leaves to the
 * garbage collector a context and buffers for each call: with frames of 40 KiB that costs a third of the speed and
 * hundreds of megabytes. Node offers no public way to keep a context, so this works on the stream's inner handle,
 * as it has been since Node 8; docs/adr/0003-zstd-handle.md.
 */
export interface ZstdHandle {
  /** The result is only valid until the next call. Undefined where zstd refused the input. */
  run(input: Uint8Array): Uint8Array | undefined;
}

interface InnerHandle {
  reset(): void;
  writeSync(
    flush: number,
    input: Uint8Array,
    at: number,
    length: number,
    out: Uint8Array,
    outAt: number,
    outLength: number,
  ): void;
}

interface InnerStream {
  _handle?: InnerHandle;
  _writeState?: Uint32Array;
  on(event: 'error', listener: () => void): void;
}

/** Undefined where this Node's streams are built differently; the public functions serve then. */
export function openHandle(stream: unknown, flush: number): ZstdHandle | undefined {
  const inner = stream as InnerStream;
  const { _handle: handle, _writeState: state } = inner;
  if (typeof handle?.writeSync !== 'function' || typeof handle.reset !== 'function' || state?.length !== 2) {
    return undefined;
  }
  const out = Buffer.allocUnsafeSlow(MAX_RAW_FRAME + MAX_RAW_FRAME / 64);
  let failed = false;
  inner.on('error', () => {});
  // The handle reports what zstd refused through this hook of its stream.
  (handle as unknown as { onerror: () => void }).onerror = () => {
    failed = true;
  };
  return {
    run(input) {
      failed = false;
      handle.reset();
      handle.writeSync(flush, input, 0, input.length, out, 0, out.length);
      const [outLeft = 0, inLeft = 0] = state;
      return failed || inLeft > 0 ? undefined : out.subarray(0, out.length - outLeft);
    },
  };
}

/** A handle that compresses whole frames, their size and checksum in them. */
export function compressHandle(level: number): ZstdHandle | undefined {
  const { ZSTD_c_compressionLevel, ZSTD_c_checksumFlag, ZSTD_e_end } = zlib.constants;
  const params = { [ZSTD_c_compressionLevel]: level, [ZSTD_c_checksumFlag]: 1 };
  return openHandle(zlib.createZstdCompress({ params }), ZSTD_e_end);
}

/** A handle that decompresses whole frames. */
export function decompressHandle(): ZstdHandle | undefined {
  return openHandle(zlib.createZstdDecompress(), zlib.constants.ZSTD_e_end);
}
