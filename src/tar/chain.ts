import { TarError } from './header.ts';
import { TarScanner, type TarSink } from './scanner.ts';

/**
 * Scans archives that follow one another in a stream as one: busybox's tar takes its names as arguments, so a long list
 * becomes several archives. Zero blocks between them are passed by.
 */
export class ChainScanner {
  readonly #sink: TarSink;
  #scanner: TarScanner;
  /** Bytes given to the scanner under way. */
  #given = 0;
  #zeros = 0;

  constructor(sink: TarSink) {
    this.#sink = sink;
    this.#scanner = this.#next();
  }

  push(chunk: Buffer): void {
    let rest = chunk;
    while (rest.length > 0) {
      if (this.#scanner.ended) {
        rest = this.#skipZeros(rest);
        continue;
      }
      this.#scanner.push(rest);
      this.#given += rest.length;
      rest = this.#scanner.ended
        ? rest.subarray(rest.length - (this.#given - this.#scanner.offset))
        : rest.subarray(rest.length);
    }
  }

  /** The stream ended. Throws TarError unless the last archive's own end was seen. */
  finish(): void {
    this.#scanner.finish();
    this.#sink.end();
  }

  /** A header never begins with a zero byte. */
  #skipZeros(bytes: Buffer): Buffer {
    const at = bytes.findIndex((byte) => byte !== 0);
    this.#zeros += at < 0 ? bytes.length : at;
    if (at < 0) return bytes.subarray(bytes.length);
    if (this.#zeros % 512 !== 0)
      throw new TarError('something else than an archive follows an archive', this.#zeros);
    this.#scanner = this.#next();
    return bytes.subarray(at);
  }

  #next(): TarScanner {
    this.#given = 0;
    this.#zeros = 0;
    const sink = this.#sink;
    return new TarScanner({
      member: (member, header) => sink.member(member, header),
      content: (bytes) => sink.content(bytes),
      memberEnd: (padding) => sink.memberEnd(padding),
      end: () => {},
    });
  }
}
