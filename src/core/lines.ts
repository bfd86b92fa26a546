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

/** The last lines of something, for error messages. */
export class Tail {
  readonly #lines: string[] = [];
  readonly #count: number;

  constructor(count = 5) {
    this.#count = count;
  }

  add(line: string): void {
    if (line.trim() === '') return;
    this.#lines.push(line.slice(0, 500));
    if (this.#lines.length > this.#count) this.#lines.shift();
  }

  get last(): string {
    return this.#lines.at(-1) ?? '';
  }

  get lines(): readonly string[] {
    return this.#lines;
  }
}
