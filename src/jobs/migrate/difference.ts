import { RecordSpool } from '../../core/chunk-spool.ts';
import { type Listed, listedOf, parseListed } from '../../tar/listing.ts';
import { isWithin } from '../../tar/names.ts';
import { hasOtherNames } from '../../tar/plan.ts';
import { secondsOf, trustedBefore } from '../../tar/trust.ts';
import type { Listing } from '../read/listing.ts';
import { Cursor } from './members.ts';

/** What is known of a volume at both ends when the second pass begins. */
export interface Ends {
  /** The source, as it was listed before the live pass, and now that it holds still. */
  first: Listing;
  second: Listing;
  /** The target after the live pass. */
  target: Listing;
  /** Members that changed while the live pass read them, or could not be read. */
  suspects: ReadonlySet<string>;
  /** Directories to make anew with all that is in them. */
  remade: ReadonlySet<string>;
}

export interface Difference {
  /** Records of the source to be sent: what changed, all names of a hard-linked file together, and directories around. */
  send: RecordSpool;
  /** Paths to be removed at the target first. */
  remove: string[];
  /** Bytes of the files in `send`. */
  bytes: number;
}

/**
 * Joins the listings of source and target in the order of members. A member stays as the live pass wrote it where the source
 * lists it as before (type, size, mode, owner, times, inode, names), its times are old enough to have shown a change, it was
 * read without complaint, and the target lists it alike.
 */
export function differenceOf(ends: Ends): Difference {
  const { changed, remove, inodes } = compare(ends);
  const parents = new Set<string>(remove.map(parentOf));
  const isSent = (member: Listed, at: number) =>
    changed[at] === true || (hasOtherNames(member) && inodes.has(member.ino));
  let at = 0;
  for (const member of listedOf(ends.second.spool.records()))
    if (isSent(member, at++)) parents.add(parentOf(member.path));
  const send = new RecordSpool();
  let bytes = 0;
  at = 0;
  for (const record of ends.second.spool.records()) {
    const member = parseListed(record);
    // Whatever is written into a directory changes its times: it is sent along, as it has no content.
    if (!isSent(member, at++) && !(member.type === 'dir' && parents.has(member.path))) continue;
    send.push(record);
    if (member.type === 'file') bytes += member.size;
  }
  return { send, remove, bytes };
}

interface Compared {
  /** For each record of the second listing. */
  changed: boolean[];
  remove: string[];
  /** Inodes of changed files with several names. */
  inodes: Set<number>;
}

function compare({ first, second, target, suspects, remade }: Ends): Compared {
  const before = trustedBefore(first);
  const firsts = new Cursor(listedOf(first.spool.records()));
  const targets = new Cursor(listedOf(target.spool.records()));
  const result: Compared = { changed: [], remove: [], inodes: new Set() };
  let gone: string | undefined;
  /** What lies in a removed directory is gone with it. */
  const remove = ({ path, type }: Listed) => {
    if (gone !== undefined && isWithin(path, gone)) return;
    result.remove.push(path);
    if (type === 'dir') gone = path;
  };
  let anew: string | undefined;
  for (const member of listedOf(second.spool.records())) {
    const known = firsts.seek(member.path);
    const there = targets.seek(member.path, remove);
    if (remade.has(member.path) && (anew === undefined || !isWithin(member.path, anew))) anew = member.path;
    const isAnew = anew !== undefined && isWithin(member.path, anew);
    const same =
      !isAnew &&
      known !== undefined &&
      there !== undefined &&
      isUnchanged(known, member, before) &&
      !suspects.has(member.path) &&
      looksAlike(there, member);
    result.changed.push(!same);
    if (same) continue;
    if (hasOtherNames(member)) result.inodes.add(member.ino);
    if (there && (isAnew || there.type !== 'dir' || member.type !== 'dir')) remove(there);
  }
  targets.seek(AFTER_ALL, remove);
  return result;
}

/** Sorts after every path: none begins so. */
const AFTER_ALL = '\xff';

function isUnchanged(known: Listed, now: Listed, before: number | undefined): boolean {
  return (
    before !== undefined &&
    looksAlike(known, now) &&
    known.ctime === now.ctime &&
    known.ino === now.ino &&
    known.nlink === now.nlink &&
    secondsOf(now.ctime) < before &&
    secondsOf(now.mtime) < before
  );
}

/** True where two listings tell the same of a member, whatever the file systems. A directory's size is its file system's. */
export function looksAlike(a: Listed, b: Listed): boolean {
  return (
    a.type === b.type &&
    (a.size === b.size || (a.type !== 'file' && a.type !== 'symlink')) &&
    a.mode === b.mode &&
    a.uid === b.uid &&
    a.gid === b.gid &&
    a.mtime === b.mtime
  );
}

function parentOf(path: string): string {
  return path.slice(0, Math.max(1, path.lastIndexOf('/')));
}
