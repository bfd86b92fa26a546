// zstd-codec ships no types.
interface ZstdSimple {
  compress(raw: Uint8Array, level?: number): Uint8Array | null;
  decompress(stored: Uint8Array): Uint8Array | null;
}

declare module 'zstd-codec' {
  const module: {
    ZstdCodec: { run(use: (zstd: { Simple: new () => ZstdSimple }) => void): void };
  };
  export default module;
}
