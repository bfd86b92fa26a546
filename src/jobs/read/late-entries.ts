import { printable } from '../../core/bytes.ts';
import { pathOfRecord } from '../../tar/listing.ts';
import { comparePaths, normalisePath } from '../../tar/names.ts';
import type { Exclude, Listing } from './listing.ts';

/** Entries looked at; beyond it nobody can say what was missed. */
const MAX_ENTRIES = 100_000;

/**
 * What lay, right after a listing, in the directories that had changed during it. A file that is older than the listing
 * and not in it was moved while find was on its way, from where it had not been yet to where it had been already.
 */
export class LateEntries {
  readonly #entries: { path: string; birth: number }[] = [];
  #tooMany = false;

  /** Takes a record "LATE <birth in seconds> <path>"; birth is 0 where the file system does not tell. */
  add(record: string): void {
    const space = record.indexOf(' ', 5);
    if (this.#entries.length >= MAX_ENTRIES) {
      this.#tooMany = true;
      return;
    }
    const birth = Number(record.slice(5, space));
    this.#entries.push({ path: normalisePath(record.slice(space + 1)), birth });
  }

  /** A complaint for each entry that the listing missed. */
  missedBy(listing: Listing, exclude: Exclude | undefined): string[] {
    const begun = listing.started.getTime() / 1000;
    const old = this.#entries
      .filter(({ path, birth }) => birth < begun && !isLeftOut(path, exclude))
      .sort((a, b) => comparePaths(a.path, b.path));
    const missed = old.length === 0 ? [] : notListed(old, listing);
    const complaints = missed.map(
      (path) => `${printable(path)}: moved while the volume was listed, so it is missing`,
    );
    if (this.#tooMany)
      complaints.push('too much changed while the volume was listed to say whether something is missing');
    return complaints;
  }
}

/** An exclusion of a directory counts for all below it, and is told in the order of members. */
function isLeftOut(path: string, exclude: Exclude | undefined): boolean {
  if (!exclude) return false;
  for (let at = path.indexOf('/', 2); at >= 0; at = path.indexOf('/', at + 1)) {
    if (exclude({ path: path.slice(0, at), type: 'dir' })) return true;
  }
  return exclude({ path, type: 'dir' });
}

function notListed(entries: readonly { path: string }[], { spool }: Listing): string[] {
  const paths = pathsOf(spool.records());
  const missing: string[] = [];
  let listed = paths.next();
  for (const { path } of entries) {
    while (!listed.done && comparePaths(listed.value, path) < 0) listed = paths.next();
    if (listed.done || listed.value !== path) missing.push(path);
  }
  return missing;
}

function* pathsOf(records: Iterable<string>): Generator<string> {
  for (const record of records) yield normalisePath(pathOfRecord(record));
}
