import type { RecordSpool } from '../../core/chunk-spool.ts';
import { VolbakError } from '../../core/errors.ts';
import { type Listed, parseListed } from '../../tar/listing.ts';
import { comparePaths } from '../../tar/names.ts';
import type { TarMember } from '../../tar/scanner.ts';
import type { JoinListing } from './framer.ts';

/** Names kept of members that were listed but not delivered. */
const MAX_MISSING = 1000;

/** Joins the members that tar delivers with the listing it was given; both come in the same order. */
export class ListingJoin {
  readonly #records: Generator<string>;
  #next: Listed | undefined;
  readonly missing: string[] = [];
  missingCount = 0;

  constructor(listing: RecordSpool) {
    this.#records = listing.records();
    this.#advance();
  }

  readonly join: JoinListing = (member) => {
    while (this.#next && comparePaths(this.#next.path, member.path) < 0) this.#miss();
    const listed = this.#next;
    if (listed?.path !== member.path) {
      throw new VolbakError('HELPER_FAILED', 'the helper delivered a file that it had not listed');
    }
    this.#advance();
    const { ctime, ino, nlink } = listed;
    return { ctime, ino, nlink, ...(differs(member, listed) ? { suspect: true } : {}) };
  };

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
    this.#next = done ? undefined : parseListed(value);
  }
}

/** True where tar saw another file than find did. A hard link's own header says nothing of the size. */
function differs(member: TarMember, listed: Listed): boolean {
  if (member.mtime !== listed.mtime) return true;
  return member.type === 'file' && member.size !== listed.size;
}
