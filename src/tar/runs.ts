import type { ByteString } from '../core/bytes.ts';
import { pathHash } from './names.ts';

/** Regular files of at least this many bytes are a run of their own. */
export const LARGE_FILE = 8 * 1024;
const RUN_MIN_WEIGHT = 16 * 1024;
const RUN_MAX_WEIGHT = 64 * 1024;
/** One path in eight may end a run. */
const RUN_END_MASK = 7;

/** True where a member is a run of its own (format.md, "Order and runs"). */
export function isLarge(type: string, size: number): boolean {
  return type === 'file' && size >= LARGE_FILE;
}

/** What a small member weighs in its run: it does not depend on how tar writes its headers. */
export function weightOf(path: ByteString, size: number): number {
  return 1024 + path.length + Math.ceil(size / 512) * 512;
}

/**
 * Says where a run of small members ends. Used on the listing (what can be left unread) and on the tar
 * (where frames are cut), so both agree. Cuts depend on names, not on positions: one member more or less
 * moves few of them.
 */
export class RunCutter {
  #weight = 0;

  /** Takes one small member; true if the run ends after it. */
  endsAfter(path: ByteString, size: number): boolean {
    this.#weight += weightOf(path, size);
    const ends =
      this.#weight >= RUN_MAX_WEIGHT ||
      (this.#weight >= RUN_MIN_WEIGHT && (pathHash(path) & RUN_END_MASK) === 0);
    if (ends) this.#weight = 0;
    return ends;
  }

  /** A large member, or the end of the tar, ended the run. */
  reset(): void {
    this.#weight = 0;
  }
}
