import { RecordSpool } from '../../core/chunk-spool.ts';
import type { IndexMember } from '../../core/member.ts';
import { VolumeDigest } from '../../tar/digest.ts';
import { comparePaths } from '../../tar/names.ts';

/** Members with their hashes, in order, kept compressed in memory. */
export class MemberSpool {
  readonly #spool = new RecordSpool();
  readonly #digest = new VolumeDigest();
  /** Bytes of the tar that they were in. */
  bytes = 0;

  readonly push = (member: IndexMember): void => {
    this.#spool.push(JSON.stringify(member));
    this.#digest.add(member);
    this.bytes += member.span;
  };

  get count(): number {
    return this.#spool.count;
  }

  /** Digest over all of them; to be called once. */
  digest(): string {
    return this.#digest.digest();
  }

  *members(): Generator<IndexMember> {
    for (const record of this.#spool.records()) yield JSON.parse(record) as IndexMember;
  }
}

/** Goes through a sequence in the order of members, beside others. */
export class Cursor<T extends { path: string }> {
  readonly #items: Iterator<T>;
  current: T | undefined;

  constructor(items: Iterable<T>) {
    this.#items = items[Symbol.iterator]();
    this.advance();
  }

  advance(): void {
    const { value, done } = this.#items.next();
    this.current = done ? undefined : value;
  }

  /** Takes the item of this path, if there is one; those before it are passed, and told. */
  seek(path: string, passed: (item: T) => void = () => {}): T | undefined {
    while (this.current && comparePaths(this.current.path, path) < 0) {
      passed(this.current);
      this.advance();
    }
    const found = this.current;
    if (found?.path !== path) return undefined;
    this.advance();
    return found;
  }
}
