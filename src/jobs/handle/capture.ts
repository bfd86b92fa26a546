import { fromText } from '../../core/bytes.ts';
import type { IndexMember } from '../../core/member.ts';
import type { FrameHandle } from '../../repository/frame-handle.ts';
import type { FrameWriter } from '../../repository/frame-writer.ts';
import type { IndexCache } from '../../repository/index-cache.ts';
import type { ManifestVolume } from '../../repository/manifest.ts';
import { VolumeIndex } from '../../repository/volume-index.ts';
import { VolumeDigest } from '../../tar/digest.ts';
import { paddingOf } from '../../tar/header.ts';
import { pathHash } from '../../tar/names.ts';
import { LARGE_FILE } from '../../tar/runs.ts';
import { writeHeader } from '../../tar/write-header.ts';
import { ContentFrames } from './content-frames.ts';

/** Frames on their way to the store before the stream has to wait. */
const IN_FLIGHT = 8;

/**
 * Keeps a stream as a volume that holds one file. Its size is known only at its end, and so is the tar header that has to
 * stand before it. But the order of a tar is that of its index, not that of its frames in the store: content is stored as
 * it comes, headers after it, and the index, written last, names the headers first. Nothing is spooled.
 */
export class CaptureWriter {
  readonly #writer: FrameWriter;
  readonly #cache: IndexCache | undefined;
  readonly #name: string;
  readonly #started: Date;
  readonly #before: { newBytes: number; storedBytes: number };
  readonly #content: Promise<FrameHandle[]>[] = [];
  readonly #waiting = new Set<Promise<unknown>>();
  readonly #frames = new ContentFrames((frame) => this.#content.push(this.#store(frame)));

  /** `cache` keeps the index where the next run could not read it back. */
  constructor(writer: FrameWriter, name: string, started: Date, cache?: IndexCache) {
    this.#writer = writer;
    this.#cache = cache;
    this.#name = name;
    this.#started = started;
    this.#before = { newBytes: writer.newBytes, storedBytes: writer.placedBytes };
  }

  /** Bytes taken so far. */
  get size(): number {
    return this.#frames.size;
  }

  /** Stores a part of the stream; resolves when there is room for the next. Raises what storing raises. */
  async push(bytes: Buffer): Promise<void> {
    this.#frames.push(bytes);
    while (this.#waiting.size >= IN_FLIGHT) await Promise.race(this.#waiting);
  }

  /** The stream ended well: stores the rest and the index. */
  async finish(): Promise<ManifestVolume> {
    const { sha256, rest } = this.#frames.end();
    const { size } = this.#frames;
    const mtime = Math.floor(this.#started.getTime() / 1000);
    const common = { uid: 0, gid: 0, mtime };
    const path = fromText(`./${this.#name}`);
    const rootHeader = writeHeader({ name: '.', type: 'dir', size: 0, mode: 0o755, ...common });
    const header = writeHeader({ name: path, type: 'file', size, mode: 0o600, ...common });
    const padding = Buffer.alloc(paddingOf(size));
    const time = `${mtime}.000000000`;
    const root: IndexMember = {
      path: '.',
      type: 'dir',
      size: 0,
      mode: 0o755,
      uid: 0,
      gid: 0,
      mtime: time,
      span: rootHeader.length,
    };
    const file: IndexMember = {
      path,
      type: 'file',
      size,
      mode: 0o600,
      uid: 0,
      gid: 0,
      mtime: time,
      span: header.length + size + padding.length,
      sha256,
    };
    const lines: (Promise<FrameHandle[]> | IndexMember)[] =
      size < LARGE_FILE
        ? [this.#store(Buffer.concat([rootHeader, header, rest, padding])), root, file]
        : [
            this.#store(rootHeader),
            root,
            this.#store(header),
            file,
            ...this.#content,
            ...(rest.length > 0 ? [this.#store(rest)] : []),
            ...(padding.length > 0 ? [this.#store(padding)] : []),
          ];
    lines.push(this.#store(Buffer.alloc(1024)));
    return this.#describe(lines, size);
  }

  /** Stores one frame; waits for nothing. */
  #store(raw: Buffer): Promise<FrameHandle[]> {
    const written = this.#writer.write({ bytes: raw, frames: Uint32Array.of(0, raw.length) });
    const waiting: Promise<unknown> = written.finally(() => this.#waiting.delete(waiting));
    waiting.catch(() => {});
    this.#waiting.add(waiting);
    return written;
  }

  async #describe(
    lines: readonly (Promise<FrameHandle[]> | IndexMember)[],
    size: number,
  ): Promise<ManifestVolume> {
    const digest = new VolumeDigest();
    let fail: (error: unknown) => void = () => {};
    const failed = new Promise<never>((_, reject) => {
      fail = reject;
    });
    failed.catch(() => {});
    const index = new VolumeIndex({
      volume: this.#name,
      writer: this.#writer,
      pathHash,
      onMember: (member) => digest.add(member),
      onFailure: fail,
      cache: this.#cache,
    });
    let frames = 0;
    for (const line of lines) {
      if (!(line instanceof Promise)) {
        index.lines.member({ member: line, ready: true });
        continue;
      }
      for (const handle of await line) index.lines.frame(handle);
      frames++;
    }
    const refs = await Promise.race([index.finish(), failed]);
    return {
      name: this.#name,
      anonymous: false,
      destinations: [],
      captured: true,
      driver: 'local',
      driverOpts: {},
      maskedOpts: [],
      labels: {},
      fsType: 'stream',
      listed: this.#started.toISOString(),
      sockets: 0,
      excluded: 0,
      entries: index.lines.entries,
      tarBytes: index.lines.tarBytes,
      readBytes: size,
      newBytes: this.#writer.newBytes - this.#before.newBytes,
      storedBytes: this.#writer.placedBytes - this.#before.storedBytes,
      frames,
      digest: digest.digest(),
      index: refs,
      segments: index.segments(refs),
      suspects: [],
    };
  }
}
