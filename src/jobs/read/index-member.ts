import type { IndexMember } from '../../core/member.ts';
import { TarError } from '../../tar/header.ts';
import type { TarMember } from '../../tar/scanner.ts';
import { type ContentHash, PlainHash, SparseHash } from '../../tar/sparse.ts';

/** What the index says of a member that begins: its hash and the padding at its end are still to come. */
export function indexMember(tar: TarMember, header: Buffer): IndexMember {
  const { path, type, size, mode, uid, gid, mtime, link, device, xattrs } = tar;
  return {
    path,
    type,
    size,
    mode,
    uid,
    gid,
    mtime,
    ...(link === undefined ? {} : { link }),
    ...(device === undefined ? {} : { device }),
    ...(xattrs === undefined ? {} : { xattrs }),
    span: header.length + tar.stored,
  };
}

/** Hash of a regular file's content as a reader of the restored file sees it. Raises TarError for old sparse formats. */
export function contentHash(tar: TarMember): ContentHash {
  if (tar.sparse === 'pax-1.0') return new SparseHash(tar.size);
  if (tar.sparse) throw new TarError('a sparse member of another format than 1.0', 0);
  return new PlainHash();
}
