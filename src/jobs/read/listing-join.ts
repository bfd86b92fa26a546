import type { RecordSpool } from '../../core/chunk-spool.ts';
import { VolbakError } from '../../core/errors.ts';
import { type Listed, parseListed } from '../../tar/listing.ts';
import { comparePaths } from '../../tar/names.ts';
import type { TarMember } from '../../tar/scanner.ts';
import type { JoinListing } from './framer.ts';

/** Names kept of members that were listed but not delivered. */
const MAX_MISSING = 1000;

/**
 * Joins the members that tar delivers with the listing it was given; both come in the same order. Of a volume of which only
 * a part is read, `gaps` says where something is left out: before the record of each of these numbers, counted from 0.
 */
export class ListingJoin {
  readonly #records: Generator<string>;
  readonly #gaps: Uint32Array;
  #next: Listed | undefined;
  /** Number of the record in `#next`. */
  #number = -1;
  #gap = 0;
  readonly missing: string[] = [];
  missingCount = 0;

  constructor(listing: RecordSpool, gaps = new Uint32Array()) {
    this.#records = listing.records();
    this.#gaps = gaps;
    this.#advance();
  }

  readonly join: JoinListing = (member) => {
    while (this.#next && comparePaths(this.#next.path, member.path) < 0) this.#miss();
    const listed = this.#next;
    if (listed?.path !== member.path) {
      throw new VolbakError('HELPER_FAILED', 'the helper delivered a file that it had not listed');
    }
    while (this.#gap < this.#gaps.length && (this.#gaps[this.#gap] as number) <= this.#number) this.#gap++;
    this.#advance();
    const { ctime, ino, nlink } = listed;
    return { ctime, ino, nlink, ...(differs(member, listed) ? { suspect: true } : {}) };
  };

  /** Gaps before the member that was joined last. */
  get gapsPassed(): number {
    return this.#gap;
  }

  /** The tar ended: whatever is left of the listing is missing. */
  finish(): void {
    while (this.#next) this.#miss();
  }

  #miss(): void {
    if (this.missing.length < MAX_MISSING) this.missing.push((this.#next as Listed).path);
    this.missingCount++;
    this.#advance();
  }

  #advance(): void {
    const { value, done } = this.#records.next();
    this.#number++;
    this.#next = done ? undefined : parseListed(value);
  }
}

/** True where tar saw another file than find did. A hard link's own header says nothing of the size. */
function differs(member: TarMember, listed: Listed): boolean {
  if (member.mtime !== listed.mtime) return true;
  return member.type === 'file' && member.size !== listed.size;
}
