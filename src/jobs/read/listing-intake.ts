import { createHash } from 'node:crypto';
import { breathe } from '../../core/sleep.ts';
import { trustedBefore } from '../../tar/trust.ts';
import type { Listing, ListingParser } from './listing.ts';

/** By what a listing is told to be one that was compared before, member by member. */
export interface Recognition {
  /** What else decides on what is read. */
  leftOut: { globs: readonly string[]; directories: readonly string[] };
  /** `Listing.hash` of the listing whose members the repository has; asked again at the end. Undefined: there is none. */
  known(): string | undefined;
  /** Called once, as soon as it is certain that the listing is another one; of what file system. */
  onOther?(fsType: string): void;
}

/** A listing of some 250,000 files. A larger one is parsed as it comes, and has no hash. */
const MOST_HELD = 32 * 1024 * 1024;

/** Bytes gone through at a time. */
const STEP = 1024 * 1024;

const HEAD = /^FS ([^\0]+)\0/;
const BEGIN = Buffer.from('\0FIND 0\0');
const END = Buffer.from('\0SORT 0\0');

/** Holds what the helper prints until its end: a listing that is known as a whole need not be parsed. */
export class ListingIntake {
  readonly #parser: ListingParser;
  readonly #recognition: Recognition;
  #held: Buffer[] | undefined = [];
  #length = 0;
  #told = false;

  constructor(parser: ListingParser, recognition: Recognition) {
    this.#parser = parser;
    this.#recognition = recognition;
  }

  push(chunk: Buffer): void {
    if (!this.#held) {
      this.#parser.push(chunk);
      return;
    }
    this.#held.push(chunk);
    this.#length += chunk.length;
    if (!this.#told && this.#recognition.known() === undefined) this.#tellFrom(this.#held[0] as Buffer);
    if (this.#length <= MOST_HELD) return;
    for (const held of this.#held) this.#parser.push(held);
    this.#held = undefined;
    this.#tell(this.#parser.listing.fsType);
  }

  /** Raises HELPER_FAILED where the listing did not come to its end. */
  async finish(stderr: string[]): Promise<Listing> {
    if (!this.#held) return this.#parser.finish(stderr);
    const all = Buffer.concat(this.#held, this.#length);
    this.#held = undefined;
    const begin = all.indexOf(BEGIN) + BEGIN.length;
    const end = all.indexOf(END, begin - 1) + 1;
    // One with complaints, or with directories that changed meanwhile, is like no other; a volume's own directory is always there.
    const plainly = begin >= BEGIN.length && end > begin && end + END.length - 1 === all.length;
    const hash = plainly && stderr.length === 0 ? this.#hash(all.subarray(begin, end)) : undefined;
    this.#parser.push(all.subarray(0, begin));
    if (hash !== undefined && hash === this.#recognition.known()) {
      this.#parser.push(all.subarray(end));
      return { ...this.#parser.finishKnown(), hash };
    }
    if (plainly) this.#tell(this.#parser.listing.fsType);
    for (let at = begin; at < all.length; at += STEP) {
      await breathe();
      this.#parser.push(all.subarray(at, at + STEP));
    }
    const listing = this.#parser.finish(stderr);
    return hash !== undefined && isTrusted(listing) ? { ...listing, hash } : listing;
  }

  /** What the helper prints first comes in one piece; where it did not, it is told at the end. */
  #tellFrom(first: Buffer): void {
    const [, fsType] = HEAD.exec(first.toString('latin1', 0, 256)) ?? [];
    if (fsType !== undefined) this.#tell(fsType);
  }

  #tell(fsType: string): void {
    if (this.#told) return;
    this.#told = true;
    this.#recognition.onOther?.(fsType);
  }

  /** The text in front MUST change with what globs mean, or what else is not told by them and the records. */
  #hash(members: Buffer): string {
    const { globs, directories } = this.#recognition.leftOut;
    const leftOut = JSON.stringify([globs, directories]);
    return createHash('sha256').update(`volbak listing 1\n${leftOut}\0`).update(members).digest('hex');
  }
}

/** True where every later change of a member shows in the times of another listing. */
function isTrusted(listing: Listing): boolean {
  const before = trustedBefore(listing);
  return before !== undefined && listing.newest < before && listing.complaints.length === 0;
}
