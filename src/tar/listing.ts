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

function time(field: string): string {
  const dot = field.indexOf('.');
  return dot < 0 ? canonicalTime(field, '') : canonicalTime(field.slice(0, dot), field.slice(dot + 1));
}

/** Parses one record of a listing (without its NUL). Throws ListingError. */
export function parseListed(record: ByteString): Listed {
  const fields: string[] = [];
  let at = 0;
  for (let i = 1; i < PATH_FIELD; i++) {
    const space = record.indexOf(' ', at);
    if (space < 0) throw new ListingError('a record of the listing is damaged');
    fields.push(record.slice(at, space));
    at = space + 1;
  }
  const [y = '', size = '', mode = '', uid = '', gid = '', mtime = '', ctime = '', ino = '', nlink = ''] =
    fields;
  const type = TYPES[y];
  const numbers = [
    Number(size),
    Number.parseInt(mode, 8),
    Number(uid),
    Number(gid),
    Number(ino),
    Number(nlink),
  ];
  if (!type || at >= record.length || numbers.some((n) => !Number.isFinite(n) || n < 0)) {
    throw new ListingError('a record of the listing is damaged');
  }
  const [s = 0, m = 0, u = 0, g = 0, i = 0, n = 0] = numbers;
  return {
    path: normalisePath(record.slice(at)),
    type,
    size: s,
    mode: m,
    uid: u,
    gid: g,
    mtime: time(mtime),
    ctime: time(ctime),
    ino: i,
    nlink: n,
  };
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
