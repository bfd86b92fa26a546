import type { ByteString } from '../core/bytes.ts';
import { comparePaths, normalisePath } from './names.ts';
import { canonicalTime } from './times.ts';

export type ListedType = 'file' | 'dir' | 'symlink' | 'fifo' | 'char' | 'block' | 'socket';

/** One file as `find` saw it, before anything was read. */
export interface Listed {
  path: ByteString;
  type: ListedType;
  size: number;
  mode: number;
  uid: number;
  gid: number;
  mtime: string;
  ctime: string;
  ino: number;
  nlink: number;
}

/**
 * find's -printf format: fields first, path last, NUL after each record. No link targets: they may hold
 * spaces and would shift the field that `sort` orders by.
 */
export const FIND_FORMAT = '%y %s %m %U %G %T@ %C@ %i %n %p\\0';
/** Number of the path's field, for `sort -t ' ' -k`. */
export const PATH_FIELD = 10;

const TYPES: Record<string, ListedType> = {
  f: 'file',
  d: 'dir',
  l: 'symlink',
  p: 'fifo',
  c: 'char',
  b: 'block',
  s: 'socket',
};

/** A listing that is damaged, out of order or cut off. */
export class ListingError extends Error {
  override readonly name = 'ListingError';
}

/** Fields of FIND_FORMAT in their order; the path is all that follows, line breaks included. */
const RECORD =
  /^([fdlpcbs]) (\d{1,16}) ([0-7]{1,4}) (\d{1,10}) (\d{1,10}) (-?\d{1,20})\.(\d{1,10}) (-?\d{1,20})\.(\d{1,10}) (\d{1,20}) (\d{1,10}) (.+)$/s;

/** overlayfs, NFS and FUSE give inode numbers of 64 bits: folded, so that they stay numbers and stay apart. */
function inodeNumber(text: string): number {
  const number = Number(text);
  if (Number.isSafeInteger(number)) return number;
  const wide = BigInt(text);
  return Number(BigInt.asUintN(53, wide ^ (wide >> 53n)));
}

/** The members of records of a listing. */
export function* listedOf(records: Iterable<string>): Generator<Listed> {
  for (const record of records) yield parseListed(record);
}

/** Parses one record of a listing (without its NUL). Throws ListingError. */
export function parseListed(record: ByteString): Listed {
  const match = RECORD.exec(record);
  const [, type = '', size = '', mode = '', uid = '', gid = ''] = match ?? [];
  if (!match || !Number.isSafeInteger(Number(size))) {
    throw new ListingError('a record of the listing is damaged');
  }
  const [, , , , , , mtime = '', mtimeNs = '', ctime = '', ctimeNs = '', ino = '', nlink = '', path = ''] =
    match;
  return {
    path: normalisePath(path),
    type: TYPES[type] as ListedType,
    size: Number(size),
    mode: Number.parseInt(mode, 8),
    uid: Number(uid),
    gid: Number(gid),
    mtime: canonicalTime(mtime, mtimeNs),
    ctime: canonicalTime(ctime, ctimeNs),
    ino: inodeNumber(ino),
    nlink: Number(nlink),
  };
}

const TYPE_BITS: Record<number, string> = {
  32768: 'f',
  16384: 'd',
  40960: 'l',
  4096: 'p',
  8192: 'c',
  24576: 'b',
  49152: 's',
};

/** A record of FIND_FORMAT from what `stat -c '%f %s %u %g %Y %Z %i %h %n'` prints. Throws ListingError. */
export function recordFromStat(line: string): ByteString {
  const [, bits = '', size, uid, gid, mtime, ctime, ino, nlink, path] =
    /^([0-9a-f]{3,8}) (\d+) (\d+) (\d+) (-?\d+) (-?\d+) (\d+) (\d+) (.+)$/s.exec(line) ?? [];
  const mode = Number.parseInt(bits, 16);
  const type = TYPE_BITS[mode & 0xf000];
  if (path === undefined || type === undefined) throw new ListingError('a record of the listing is damaged');
  const permissions = (mode & 0o7777).toString(8);
  return `${type} ${size} ${permissions} ${uid} ${gid} ${mtime}.0 ${ctime}.0 ${ino} ${nlink} ${path}`;
}

/** The path of a listing's record: what follows its ninth space. */
export function pathOfRecord(record: string): string {
  let at = 0;
  for (let i = 0; i < 9; i++) at = record.indexOf(' ', at) + 1;
  return record.slice(at);
}

/** Splits a stream of NUL-ended records. Feed chunks to `push`; `rest` must be empty at the end. */
export class RecordSplitter {
  #rest = Buffer.alloc(0);

  *push(chunk: Buffer): Generator<ByteString> {
    const data = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    let at = 0;
    for (let end = data.indexOf(0, at); end >= 0; end = data.indexOf(0, at)) {
      yield data.toString('latin1', at, end);
      at = end + 1;
    }
    this.#rest = Buffer.from(data.subarray(at));
  }

  get rest(): number {
    return this.#rest.length;
  }
}

/** Checks that paths come in the order of members; throws ListingError naming no path (it may be hostile). */
export class OrderCheck {
  #last: ByteString | undefined;

  next(path: ByteString): void {
    if (this.#last !== undefined && comparePaths(this.#last, path) >= 0) {
      throw new ListingError('the listing is out of order');
    }
    this.#last = path;
  }
}
