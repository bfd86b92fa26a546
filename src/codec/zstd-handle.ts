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
  /** Gives the context up: what came out was not what was expected, so it may be in the middle of a cut-off frame. */
  discard(): void;
}

interface InnerHandle {
  onerror(): void;
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
  on(this: unknown, event: 'error', listener: () => void): void;
}

/**
 * Undefined where this Node's streams are built differently; the public functions serve then. A context is given
 * up after whatever it refused: neither `reset` nor the next frame clears a zstd error in it. `reset` is not used
 * at all: it makes a new context *without* the parameters, so without checksums.
 */
export function openHandle(make: () => unknown, flush: number): ZstdHandle | undefined {
  const out = Buffer.allocUnsafeSlow(MAX_RAW_FRAME + MAX_RAW_FRAME / 64);
  let stream = innerOf(make());
  if (!stream) return undefined;
  return {
    run(input) {
      stream ??= innerOf(make());
      if (!stream) return undefined;
      stream.failed = false;
      stream.handle.writeSync(flush, input, 0, input.length, out, 0, out.length);
      const [outLeft = 0, inLeft = 0] = stream.state;
      // A full buffer may mean that there is more: then the frame is too large, and the context in its middle.
      if (!stream.failed && inLeft === 0 && outLeft > 0) return out.subarray(0, out.length - outLeft);
      stream = undefined;
      return undefined;
    },
    discard() {
      stream = undefined;
    },
  };
}

interface Inner {
  handle: InnerHandle;
  state: Uint32Array;
  failed: boolean;
}

function innerOf(stream: unknown): Inner | undefined {
  const { _handle: handle, _writeState: state, on } = stream as InnerStream;
  if (typeof handle?.writeSync !== 'function' || state?.length !== 2) return undefined;
  const inner: Inner = { handle, state, failed: false };
  on.call(stream, 'error', () => {});
  // The handle reports what zstd refused through this hook of its stream.
  handle.onerror = () => {
    inner.failed = true;
  };
  return inner;
}

/** A handle that compresses whole frames, their size and checksum in them. */
export function compressHandle(level: number): ZstdHandle | undefined {
  const { ZSTD_c_compressionLevel, ZSTD_c_checksumFlag, ZSTD_e_end } = zlib.constants;
  const params = { [ZSTD_c_compressionLevel]: level, [ZSTD_c_checksumFlag]: 1 };
  return openHandle(() => zlib.createZstdCompress({ params }), ZSTD_e_end);
}

/** A handle that decompresses whole frames. */
export function decompressHandle(): ZstdHandle | undefined {
  return openHandle(() => zlib.createZstdDecompress(), zlib.constants.ZSTD_e_end);
}
