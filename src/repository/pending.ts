import { randomBytes } from 'node:crypto';
import { appendFileSync, mkdirSync } from 'node:fs';
import { readdir, readFile, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { processIdentity, processState } from '../core/process-identity.ts';
import { type FrameRef, isFrameRef } from './frame-ref.ts';

/**
 * Remembers, on this host, which frames a run has stored before its snapshot exists: when it is interrupted, the next
 * one finds them and goes on instead of sending all again. Only a cache: losing it costs time and space, not data,
 * and the commit checks every segment anyway.
 */
export class PendingFrames {
  readonly #directory: string;
  readonly #own: string;
  readonly #taken: string[] = [];
  #begun = false;

  /** `cacheDirectory` is volbak's own; `repositoryId` keeps repositories apart. */
  constructor(cacheDirectory: string, repositoryId: string) {
    this.#directory = join(cacheDirectory, 'pending', repositoryId);
    this.#own = join(this.#directory, `${randomBytes(8).toString('hex')}.ndjson`);
  }

  /** Frames that interrupted runs of this host stored. */
  async load(): Promise<FrameRef[]> {
    const refs: FrameRef[] = [];
    for (const name of await readdir(this.#directory).catch(() => [] as string[])) {
      const path = join(this.#directory, name);
      const [owner = '', ...lines] = (await readFile(path, 'utf8').catch(() => '')).split('\n');
      if (path === this.#own || processState(owner) !== 'dead') continue;
      this.#taken.push(path);
      for (const line of lines) refs.push(...parseLine(line));
    }
    return refs;
  }

  /** Notes frames that are durable now. A cache that cannot be written is none. */
  add(frames: readonly FrameRef[]): void {
    try {
      if (!this.#begun) {
        mkdirSync(this.#directory, { recursive: true, mode: 0o700 });
        appendFileSync(this.#own, `${processIdentity()}\n`, { mode: 0o600 });
        this.#begun = true;
      }
      appendFileSync(this.#own, `${JSON.stringify(frames)}\n`);
    } catch {
      // See above.
    }
  }

  /** The snapshots stand: nothing is pending any more. */
  async forget(): Promise<void> {
    for (const path of [this.#own, ...this.#taken.splice(0)]) await unlink(path).catch(() => {});
    this.#begun = false;
  }
}

/** The last line may be cut off by the crash. */
function parseLine(line: string): FrameRef[] {
  try {
    const value: unknown = JSON.parse(line);
    return Array.isArray(value) ? value.filter(isFrameRef) : [];
  } catch {
    return [];
  }
}
