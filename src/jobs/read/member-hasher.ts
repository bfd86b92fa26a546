import type { IndexMember } from '../../core/member.ts';
import type { TarMember, TarSink } from '../../tar/scanner.ts';
import type { ContentHash } from '../../tar/sparse.ts';
import { contentHash, indexMember } from './index-member.ts';

/** Hashes the content of members as they pass, and hands each on when it is whole. For what is only passed on. */
export class MemberHasher implements TarSink {
  readonly #onMember: (member: IndexMember) => void;
  #member: IndexMember | undefined;
  #hash: ContentHash | undefined;

  constructor(onMember: (member: IndexMember) => void) {
    this.#onMember = onMember;
  }

  member(tar: TarMember, header: Buffer): void {
    this.#member = indexMember(tar, header);
    this.#hash = tar.type === 'file' ? contentHash(tar) : undefined;
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
