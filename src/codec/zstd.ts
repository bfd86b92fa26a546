import zlib from 'node:zlib';
import { VolbakError } from '../core/errors.ts';
import { MAX_RAW_FRAME } from './limits.ts';
import { compressHandle, decompressHandle } from './zstd-handle.ts';

/** Compresses and decompresses single zstd frames. Results are only valid until the next call. */
export interface FrameCodec {
  readonly name: 'node' | 'wasm';
  compress(raw: Uint8Array): Uint8Array;
  /** Raises INTEGRITY where the bytes are not one whole frame of `rawLength` bytes. */
  decompress(stored: Uint8Array, rawLength: number): Uint8Array;
}

/** Level of all frames; zstd's own default. */
const LEVEL = 3;

function damaged(cause?: unknown): VolbakError {
  return new VolbakError('INTEGRITY', 'a frame does not decompress to what was written', { cause });
}

/** True where this Node has zstd of its own (22.15 and later). */
export function hasNativeZstd(): boolean {
  return typeof zlib.zstdCompressSync === 'function';
}

/** node:zlib's public functions. The output buffer is sized ahead: with the default one small frames take twice as long. */
function publicCodec(): FrameCodec {
  const { ZSTD_c_compressionLevel, ZSTD_c_checksumFlag } = zlib.constants;
  const params = { [ZSTD_c_compressionLevel]: LEVEL, [ZSTD_c_checksumFlag]: 1 };
  return {
    name: 'node',
    compress(raw) {
      const chunkSize = Math.max(1024, raw.length + (raw.length >> 7) + 128);
      return zlib.zstdCompressSync(raw, { params, pledgedSrcSize: raw.length, chunkSize });
    },
    decompress(stored, rawLength) {
      try {
        const raw = zlib.zstdDecompressSync(stored, {
          chunkSize: Math.max(1024, rawLength),
          maxOutputLength: Math.max(1, rawLength),
        });
        if (raw.length === rawLength) return raw;
      } catch (error) {
        throw damaged(error);
      }
      throw damaged();
    },
  };
}

/** node:zlib, through contexts that are used again where this Node lets us; larger inputs the public way. */
export function nativeCodec(): FrameCodec {
  const plain = publicCodec();
  const compressor = compressHandle(LEVEL);
  const decompressor = decompressHandle();
  if (!compressor || !decompressor) return plain;
  return {
    name: 'node',
    compress: (raw) => (raw.length <= MAX_RAW_FRAME && compressor.run(raw)) || plain.compress(raw),
    decompress(stored, rawLength) {
      if (rawLength > MAX_RAW_FRAME) return plain.decompress(stored, rawLength);
      const raw = decompressor.run(stored);
      if (raw?.length === rawLength) return raw;
      decompressor.discard();
      throw damaged();
    },
  };
}

/** The zstd-codec package, for a Node without zstd. Its frames carry no checksum; SHA-256 guards them. */
export async function wasmCodec(): Promise<FrameCodec> {
  const { ZstdCodec } = (await import('zstd-codec')).default;
  const simple = await new Promise<ZstdSimple>((resolve) => {
    ZstdCodec.run((zstd) => resolve(new zstd.Simple()));
  });
  return {
    name: 'wasm',
    compress(raw) {
      const stored = simple.compress(raw, LEVEL);
      if (!stored) throw new VolbakError('UNEXPECTED', 'zstd-codec could not compress a frame');
      return stored;
    },
    decompress(stored, rawLength) {
      let raw: Uint8Array | null;
      try {
        raw = simple.decompress(stored);
      } catch (error) {
        throw damaged(error);
      }
      if (raw?.length !== rawLength) throw damaged();
      return raw;
    },
  };
}

const loaded = new Map<FrameCodec['name'], Promise<FrameCodec>>();

/** The best codec here: node:zlib, else zstd-codec; one a thread, as a codec keeps its contexts. `force` is for tests. */
export function loadCodec(force?: 'node' | 'wasm'): Promise<FrameCodec> {
  const name = force ?? (hasNativeZstd() ? 'node' : 'wasm');
  let codec = loaded.get(name);
  if (!codec) {
    codec = name === 'node' ? Promise.resolve(nativeCodec()) : wasmCodec();
    loaded.set(name, codec);
  }
  return codec;
}
