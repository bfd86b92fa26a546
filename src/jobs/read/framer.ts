import { hash } from 'node:crypto';
import type { IndexMember } from '../../core/member.ts';
import { ContentChunker, WHOLE_CONTENT } from '../../repository/chunker.ts';
import { MAX_FRAME } from '../../repository/frame-ref.ts';
import { BLOCK } from '../../tar/header.ts';
import { isLarge, RunCutter } from '../../tar/runs.ts';
import type { TarMember, TarSink } from '../../tar/scanner.ts';
import type { ContentHash } from '../../tar/sparse.ts';
import { contentHash, indexMember } from './index-member.ts';
import type { HashFrom } from './messages.ts';

/** Where the framer's frames go. */
export interface FrameSink {
  /** Appends to the frame under way. */
  write(bytes: Buffer): void;
  /** Ends the frame under way; its number counts from 0 over the whole tar. `ofContent`: of one cut into several. */
  cut(ofContent: boolean): void;
  /** A member begins in the frame under way. Its hash comes with `memberDone`. */
  member(member: IndexMember): void;
  /** All of the member was read. */
  memberDone(member: IndexMember, hashFrom: HashFrom): void;
  /** Here stands what was not read, up to the gap of this number (from 1). */
  gap(upTo: number): void;
}

/** What the listing says of a delivered member; undefined fields where there is no listing. */
export type JoinListing = (member: TarMember) => Pick<IndexMember, 'ctime' | 'ino' | 'nlink' | 'suspect'>;

/** The listing that a tar was asked for. */
export interface JoinedListing {
  join: JoinListing;
  /** Gaps, where runs were left out, before the member that was joined last. */
  readonly gapsPassed: number;
}

/** Cuts a volume's tar into frames as format.md says ("Order and runs"), member by member. */
export class Framer implements TarSink {
  readonly #sink: FrameSink;
  readonly #listing: JoinedListing;
  readonly #hashAll: boolean;
  readonly #runs = new RunCutter();
  readonly #chunker = new ContentChunker();
  /** Bytes in the frame under way, and frames cut so far. */
  #length = 0;
  #frames = 0;
  #member!: IndexMember;
  #path = '';
  #large = false;
  #chunked = false;
  /** True between the cuts of a content that others hash, frame by frame. */
  #hashedOutside = false;
  #hash: ContentHash | undefined;
  #small: Buffer[] = [];
  #smallDigest: string | undefined;
  #gaps = 0;

  /** `hashAll`: there will be no frames to take hashes from. */
  constructor(sink: FrameSink, listing: JoinedListing, hashAll = false) {
    this.#sink = sink;
    this.#listing = listing;
    this.#hashAll = hashAll;
  }

  member(tar: TarMember, header: Buffer): void {
    const joined = this.#listing.join(tar);
    this.#large = isLarge(tar.type, tar.size);
    if (this.#passGaps(this.#listing.gapsPassed) || this.#large) {
      this.#cut();
      this.#runs.reset();
    }
    this.#member = { ...indexMember(tar, header), ...joined };
    this.#path = tar.path;
    this.#sink.member(this.#member);
    this.#write(header);
    this.#startContent(tar);
  }

  /** What was not read lies between whole frames. */
  #passGaps(gaps: number): boolean {
    if (gaps === this.#gaps) return false;
    this.#cut();
    this.#sink.gap(gaps);
    this.#gaps = gaps;
    return true;
  }

  #startContent(tar: TarMember): void {
    this.#hash = undefined;
    this.#small = [];
    this.#smallDigest = undefined;
    this.#chunked = this.#large && tar.stored > WHOLE_CONTENT;
    if (this.#large) this.#cut();
    if (tar.type !== 'file') return;
    // All others are hashed by whoever has the frames that hold them.
    if (tar.sparse || (this.#large && this.#hashAll)) this.#hash = contentHash(tar);
    else this.#hashedOutside = this.#chunked;
  }

  content(bytes: Buffer): void {
    if (this.#hash) this.#hash.update(bytes);
    else if (!this.#large) this.#smallContent(bytes);
    if (!this.#chunked) {
      this.#write(bytes);
      return;
    }
    let at = 0;
    while (at < bytes.length) {
      const end = this.#chunker.cut(bytes, at);
      this.#write(bytes.subarray(at, end < 0 ? bytes.length : end));
      if (end < 0) return;
      this.#cut();
      at = end;
    }
  }

  memberEnd(padding: Buffer): void {
    const member = this.#member;
    member.span += padding.length;
    const hashFrom: HashFrom = {};
    if (this.#large) {
      if (this.#hashedOutside) hashFrom.cut = true;
      else if (!this.#hash) hashFrom.inFrame = this.#frames;
      this.#cut();
      this.#hashedOutside = false;
      this.#chunker.reset();
    }
    this.#write(padding);
    if (member.type === 'file') {
      if (this.#hash) member.sha256 = this.#hash.digest();
      else if (!this.#large) member.sha256 = this.#smallHash();
    }
    this.#sink.memberDone(member, hashFrom);
    if (this.#large) this.#cut();
    else if (this.#runs.endsAfter(this.#path, member.type === 'file' ? member.size : 0)) this.#cut();
  }

  end(): void {
    this.#passGaps(Number.MAX_SAFE_INTEGER);
    this.#cut();
    this.#write(Buffer.alloc(2 * BLOCK));
    this.#cut();
  }

  /** Most come in one piece, which is there only until more is read. */
  #smallContent(bytes: Buffer): void {
    if (bytes.length === this.#member.size) this.#smallDigest = hash('sha256', bytes);
    else this.#small.push(Buffer.from(bytes));
  }

  #smallHash(): string {
    return this.#smallDigest ?? hash('sha256', Buffer.concat(this.#small));
  }

  #write(bytes: Buffer): void {
    let at = 0;
    while (at < bytes.length) {
      if (this.#length === MAX_FRAME) this.#cut();
      const n = Math.min(MAX_FRAME - this.#length, bytes.length - at);
      this.#sink.write(at === 0 && n === bytes.length ? bytes : bytes.subarray(at, at + n));
      this.#length += n;
      at += n;
    }
  }

  #cut(): void {
    if (this.#length === 0) return;
    this.#sink.cut(this.#hashedOutside);
    this.#frames++;
    this.#length = 0;
  }
}
