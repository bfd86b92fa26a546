import zlib from 'node:zlib';

const CHUNK = 1024 * 1024;

/**
 * A list of NUL-ended records kept in memory compressed (about a sixth), to be gone through several times without
 * a file on disk: a million files' listing takes some 20 MB.
 */
export class RecordSpool {
  readonly #chunks: Uint8Array<ArrayBuffer>[];
  #pending: string[] = [];
  #length = 0;
  count = 0;

  constructor(chunks: Uint8Array<ArrayBuffer>[] = []) {
    this.#chunks = chunks;
  }

  push(record: string): void {
    this.#pending.push(record);
    this.#length += record.length + 1;
    this.count++;
    if (this.#length >= CHUNK) this.#pack();
  }

  /** The chunks, to be handed to another thread and opened there with the constructor. */
  get chunks(): Uint8Array<ArrayBuffer>[] {
    this.#pack();
    return this.#chunks;
  }

  #pack(): void {
    if (this.#pending.length === 0) return;
    const bytes = Buffer.from(`${this.#pending.join('\0')}\0`, 'latin1');
    this.#chunks.push(new Uint8Array(zlib.deflateRawSync(bytes, { level: 1 })));
    this.#pending = [];
    this.#length = 0;
  }

  *records(): Generator<string> {
    for (const chunk of this.chunks) {
      const text = zlib.inflateRawSync(chunk).toString('latin1');
      let at = 0;
      for (let end = text.indexOf('\0', at); end >= 0; end = text.indexOf('\0', at)) {
        yield text.slice(at, end);
        at = end + 1;
      }
    }
  }
}
