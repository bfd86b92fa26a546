import { type MemberMap, TarRewriter } from './rewrite.ts';
import { TarScanner } from './scanner.ts';

/** Gathered output before it is passed on. */
const CHUNK = 1024 * 1024;

/**
 * A tar stream under other names, as a stream. Throws TarError where `source` is damaged or cut off.
 * `endMark: false` leaves the end open, so that another archive can follow.
 */
export async function* rewriteTar(
  source: AsyncIterable<Uint8Array>,
  map: MemberMap,
  options: { endMark: boolean } = { endMark: true },
): AsyncGenerator<Buffer> {
  let parts: Buffer[] = [];
  let length = 0;
  const out = (bytes: Buffer) => {
    parts.push(Buffer.from(bytes));
    length += bytes.length;
  };
  const take = () => {
    const joined = Buffer.concat(parts);
    parts = [];
    length = 0;
    return joined;
  };
  const rewriter = new TarRewriter(map, out);
  const scanner = new TarScanner(rewriter);
  for await (const bytes of source) {
    scanner.push(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
    if (length >= CHUNK) yield take();
  }
  scanner.finish();
  if (options.endMark) rewriter.finish();
  if (length > 0) yield take();
}
