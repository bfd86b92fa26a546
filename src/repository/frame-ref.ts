/** Where a frame lies and what it is: segment, offset, stored length, raw length, SHA-256 of the raw bytes. */
export type FrameRef = [segment: string, offset: number, length: number, raw: number, sha256: string];

/** Largest raw size of a frame in bytes. */
export const MAX_FRAME = 2 * 1024 * 1024;
/** A frame can grow a little when its content does not compress. */
const MAX_STORED = MAX_FRAME + MAX_FRAME / 64;

const HEX64 = /^[0-9a-f]{64}$/;

/** True where an untrusted value is a frame reference within the format's bounds. */
export function isFrameRef(value: unknown): value is FrameRef {
  if (!Array.isArray(value) || value.length !== 5) return false;
  const [segment, offset, length, raw, sha256] = value;
  return (
    typeof segment === 'string' &&
    HEX64.test(segment) &&
    Number.isSafeInteger(offset) &&
    offset >= 0 &&
    Number.isSafeInteger(length) &&
    length > 0 &&
    length <= MAX_STORED &&
    Number.isSafeInteger(raw) &&
    raw > 0 &&
    raw <= MAX_FRAME &&
    typeof sha256 === 'string' &&
    HEX64.test(sha256)
  );
}
