import { StringDecoder } from 'node:string_decoder';

/** A line longer than this is told in pieces: a program that never ends one must not fill the memory. */
const MAX_LINE = 64 * 1024;

/** Cuts what a program prints into lines of text. */
export class LineSplitter {
  readonly #decoder = new StringDecoder('utf8');
  readonly #onLine: (line: string) => void;
  #rest = '';

  constructor(onLine: (line: string) => void) {
    this.#onLine = onLine;
  }

  push(bytes: Uint8Array): void {
    const lines = (this.#rest + this.#decoder.write(Buffer.from(bytes))).split('\n');
    this.#rest = lines.pop() ?? '';
    for (const line of lines) this.#onLine(line.replace(/\r$/, ''));
    while (this.#rest.length >= MAX_LINE) {
      this.#onLine(this.#rest.slice(0, MAX_LINE));
      this.#rest = this.#rest.slice(MAX_LINE);
    }
  }

  /** Tells what is left without a line end. */
  end(): void {
    const rest = this.#rest + this.#decoder.end();
    this.#rest = '';
    if (rest !== '') this.#onLine(rest);
  }
}

/** Of a last line so much is kept. */
const MAX_KEPT = 500;

/** The last line that a program wrote on either stream, for messages. */
export class LastWords {
  readonly #last = { stdout: '', stderr: '' };

  add(stream: 'stdout' | 'stderr', line: string): void {
    if (line.trim() !== '') this.#last[stream] = line.slice(0, MAX_KEPT);
  }

  /** Of a program that failed: complaints go to standard error. */
  get complaint(): string {
    return this.#last.stderr || this.#last.stdout;
  }

  /** Of one that did well. */
  get result(): string {
    return this.#last.stdout || this.#last.stderr;
  }
}
