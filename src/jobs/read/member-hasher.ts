import type { IndexMember } from '../../core/member.ts';
import { TarError } from '../../tar/header.ts';
import type { TarMember, TarSink } from '../../tar/scanner.ts';
import { type ContentHash, PlainHash, SparseHash } from '../../tar/sparse.ts';

/** Hashes the content of members as they pass, and hands each on when it is whole. For what is only passed on. */
export class MemberHasher implements TarSink {
  readonly #onMember: (member: IndexMember) => void;
  #member: IndexMember | undefined;
  #hash: ContentHash | undefined;

  constructor(onMember: (member: IndexMember) => void) {
    this.#onMember = onMember;
  }

  member(tar: TarMember, header: Buffer): void {
    const { path, type, size, mode, uid, gid, mtime, link, device, xattrs } = tar;
    this.#member = {
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
    this.#hash = undefined;
    if (type !== 'file') return;
    if (tar.sparse === 'pax-1.0') this.#hash = new SparseHash(tar.size);
    else if (tar.sparse) throw new TarError('a sparse member of another format than 1.0', 0);
    else this.#hash = new PlainHash();
  }

  content(bytes: Buffer): void {
    this.#hash?.update(bytes);
  }

  memberEnd(padding: Buffer): void {
    const member = this.#member as IndexMember;
    member.span += padding.length;
    if (this.#hash) member.sha256 = this.#hash.digest();
    this.#onMember(member);
  }

  end(): void {}
}
