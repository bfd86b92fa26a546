import type { Member } from '../core/member.ts';
import {
  addPax,
  BLOCK,
  isZeroBlock,
  paddingOf,
  parseHeader,
  type RawHeader,
  TarError,
  typeOfFlag,
} from './header.ts';
import { normalisePath } from './names.ts';
import { canonicalTime, timeFromPax } from './times.ts';
import { hashXattrs } from './xattrs.ts';

/** A member with what one needs to write it anew. */
export interface TarMember extends Member {
  /** Name as the archive has it, before normalising. */
  rawName: string;
  /** Bytes of content in the archive: less than `size` where the file is sparse. */
  stored: number;
  /** Version of GNU's sparse format, if the member is sparse. */
  sparse?: 'pax-1.0' | 'pax-0' | 'old';
  /** pax records in force for the member, global ones included. */
  pax: ReadonlyMap<string, string>;
  typeflag: string;
  /** Where in its header blocks the member's own block begins. */
  blockAt: number;
}

/** What a scanner tells. Together the byte arguments are the whole archive up to its end mark, in order. */
export interface TarSink {
  /** A member begins; `header` holds all its header blocks and is only valid during the call. */
  member(member: TarMember, header: Buffer): void;
  content(bytes: Buffer): void;
  /** All content of the member came; `padding` (0 to 511 zeros) rounds it up to a block. */
  memberEnd(padding: Buffer): void;
  /** The end mark, two zero blocks, came at a member boundary. */
  end(): void;
}

/** Extended headers (long names, ACLs, attributes) beyond this are refused: a bomb, not a file. */
const MAX_HEADER = 16 * 1024 * 1024;

/** Linux takes paths of 4 KiB at once; an index frame must hold a name whatever its bytes. */
const MAX_NAME = 64 * 1024;

type State = 'header' | 'content' | 'padding' | 'lone-zero' | 'ended';

/**
 * Finds the members of a tar in a stream of chunks: ustar, pax, GNU and v7. Keeps no content.
 * Call `push` for each chunk, then `finish`. Both throw TarError on damage.
 */
export class TarScanner {
  readonly #sink: TarSink;
  #state: State = 'header';
  /** Header blocks of the member under way. */
  #group = Buffer.allocUnsafe(16 * 1024);
  #groupLength = 0;
  /** Where in the group the next header step ends. */
  #need = BLOCK;
  /** Where in the group the header under way begins, and its type if only its data is missing. */
  #step = 0;
  #extension: RawHeader | undefined;
  #left = 0;
  #padding = 0;
  #offset = 0;
  #global = new Map<string, string>();
  #local = new Map<string, string>();

  constructor(sink: TarSink) {
    this.#sink = sink;
  }

  /** Bytes scanned up to the end of the last complete step. */
  get offset(): number {
    return this.#offset;
  }

  /** True once both zero blocks came; what follows is padding of the blocking factor and is ignored. */
  get ended(): boolean {
    return this.#state === 'ended';
  }

  push(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length) {
      switch (this.#state) {
        case 'content':
          at += this.#content(chunk, at);
          break;
        case 'ended':
          return;
        default:
          at += this.#header(chunk, at);
      }
    }
  }

  /** The stream ended. Throws TarError unless the archive's own end was seen. */
  finish(): void {
    if (this.#state !== 'ended') throw new TarError('the archive is cut off', this.#offset);
  }

  #content(chunk: Buffer, at: number): number {
    const n = Math.min(this.#left, chunk.length - at);
    this.#sink.content(at === 0 && n === chunk.length ? chunk : chunk.subarray(at, at + n));
    this.#left -= n;
    this.#offset += n;
    if (this.#left === 0) this.#contentDone();
    return n;
  }

  #contentDone(): void {
    if (this.#padding === 0) {
      this.#sink.memberEnd(Buffer.alloc(0));
      this.#state = 'header';
      this.#need = BLOCK;
    } else {
      this.#state = 'padding';
      this.#need = this.#padding;
      this.#groupLength = 0;
    }
  }

  /** Collects header blocks (or padding) in the group until the step is whole. */
  #header(chunk: Buffer, at: number): number {
    const n = Math.min(this.#need - this.#groupLength, chunk.length - at);
    if (this.#groupLength + n > this.#group.length) this.#grow(this.#need);
    chunk.copy(this.#group, this.#groupLength, at, at + n);
    this.#groupLength += n;
    if (this.#groupLength === this.#need) this.#stepDone();
    return n;
  }

  #grow(size: number): void {
    const bigger = Buffer.allocUnsafe(Math.max(size, this.#group.length * 2));
    this.#group.copy(bigger, 0, 0, this.#groupLength);
    this.#group = bigger;
  }

  #stepDone(): void {
    if (this.#state === 'padding') {
      this.#offset += this.#groupLength;
      this.#sink.memberEnd(this.#group.subarray(0, this.#groupLength));
      this.#nextMember();
      return;
    }
    if (this.#extension) {
      this.#extensionDone(this.#extension);
      return;
    }
    const block = this.#group.subarray(this.#step, this.#step + BLOCK);
    if (isZeroBlock(block)) this.#zeroBlock();
    else this.#blockDone(block);
  }

  #zeroBlock(): void {
    if (this.#step !== 0) throw new TarError('an extended header without its member', this.#offset);
    this.#offset += BLOCK;
    if (this.#state === 'lone-zero') {
      this.#state = 'ended';
      this.#sink.end();
      return;
    }
    this.#nextMember();
    this.#state = 'lone-zero';
  }

  #blockDone(block: Buffer): void {
    if (this.#state === 'lone-zero') throw new TarError('a lone zero block inside the archive', this.#offset);
    const header = parseHeader(block, this.#offset + this.#step);
    if ('xgLK'.includes(header.typeflag) || !typeOfFlag(header.typeflag)) {
      if (header.size > MAX_HEADER || this.#groupLength > MAX_HEADER) {
        throw new TarError('an extended header is too large', this.#offset);
      }
      this.#extension = header;
      this.#step += BLOCK;
      this.#need = this.#step + header.size + paddingOf(header.size);
      if (header.size === 0) this.#extensionDone(header);
      return;
    }
    this.#memberStart(header, block);
  }

  #extensionDone(header: RawHeader): void {
    const data = this.#group.subarray(this.#step, this.#step + header.size);
    const at = this.#offset + this.#step;
    if (header.typeflag === 'x') addPax(this.#local, data, at);
    else if (header.typeflag === 'g') addPax(this.#global, data, at);
    else if (header.typeflag === 'L') this.#local.set('path', cString(data));
    else if (header.typeflag === 'K') this.#local.set('linkpath', cString(data));
    else if (header.typeflag !== 'V') {
      throw new TarError(`a member of unknown type '${header.typeflag}'`, this.#offset);
    }
    this.#extension = undefined;
    this.#step = this.#need;
    this.#need += BLOCK;
  }

  #memberStart(header: RawHeader, block: Buffer): void {
    // Old GNU sparse headers go on in further blocks while a flag says so.
    const last = this.#groupLength - BLOCK;
    if (header.typeflag === 'S') {
      const flagAt = last === this.#step ? 482 : 504;
      if (this.#group[last + flagAt] === 1) {
        this.#need += BLOCK;
        if (this.#need > MAX_HEADER) throw new TarError('a sparse header is too large', this.#offset);
        return;
      }
    }
    let member: TarMember;
    try {
      member = toMember(header, block, this.#step, new Map([...this.#global, ...this.#local]));
    } catch (error) {
      if (error instanceof RangeError) throw new TarError(error.message, this.#offset);
      throw error;
    }
    this.#sink.member(member, this.#group.subarray(0, this.#groupLength));
    this.#offset += this.#groupLength;
    this.#left = member.stored;
    this.#padding = paddingOf(member.stored);
    this.#nextMember();
    this.#state = 'content';
    if (this.#left === 0) this.#contentDone();
  }

  #nextMember(): void {
    this.#state = 'header';
    this.#groupLength = 0;
    this.#step = 0;
    this.#need = BLOCK;
    this.#local.clear();
  }
}

function cString(data: Buffer): string {
  const end = data.indexOf(0);
  return data.toString('latin1', 0, end < 0 ? data.length : end);
}

function integer(value: string | undefined, fallback: number): number {
  if (value === undefined) return fallback;
  const number = Number(value);
  if (!/^\d+$/.test(value) || !Number.isSafeInteger(number)) throw new RangeError('bad number in pax header');
  return number;
}

/** What no kernel takes for a name cannot be restored, nor written into an index. */
function checkedName(name: string, what: string): string {
  if (name.includes('\0')) throw new RangeError(`${what} with a NUL in it`);
  if (name === '') throw new RangeError(`${what} without a name`);
  if (name.length > MAX_NAME) throw new RangeError(`${what} of ${name.length} bytes`);
  return name;
}

function toMember(header: RawHeader, block: Buffer, blockAt: number, pax: Map<string, string>): TarMember {
  const rawName = checkedName(pax.get('GNU.sparse.name') ?? pax.get('path') ?? header.name, 'a member');
  const type =
    rawName.endsWith('/') && header.typeflag === '\0' ? 'dir' : (typeOfFlag(header.typeflag) ?? 'file');
  // GNU tar: a hard link has no content, whatever its size field says.
  const stored = type === 'hardlink' ? 0 : integer(pax.get('size'), header.size);
  const member: TarMember = {
    path: normalisePath(rawName),
    rawName,
    type,
    size: type === 'file' ? stored : 0,
    mode: header.mode,
    uid: integer(pax.get('uid'), header.uid),
    gid: integer(pax.get('gid'), header.gid),
    mtime: pax.has('mtime') ? timeFromPax(pax.get('mtime') ?? '') : canonicalTime(header.mtime, ''),
    stored,
    pax,
    typeflag: header.typeflag,
    blockAt,
  };
  if (type === 'symlink' || type === 'hardlink') {
    const link = checkedName(pax.get('linkpath') ?? header.link, 'a link');
    member.link = type === 'hardlink' ? normalisePath(link) : link;
  }
  if (type === 'char' || type === 'block') member.device = `${header.major}:${header.minor}`;
  if (type !== 'hardlink') member.xattrs = hashXattrs(pax);
  if (member.xattrs === undefined) delete member.xattrs;
  markSparse(member, header, block);
  return member;
}

function markSparse(member: TarMember, header: RawHeader, block: Buffer): void {
  const { pax } = member;
  if (header.typeflag === 'S') {
    member.sparse = 'old';
    member.size = Number.parseInt(block.toString('latin1', 483, 495), 8) || member.stored;
  } else if (pax.get('GNU.sparse.major') === '1') {
    member.sparse = 'pax-1.0';
    member.size = integer(pax.get('GNU.sparse.realsize'), member.stored);
  } else if (pax.has('GNU.sparse.map') || pax.has('GNU.sparse.numblocks')) {
    member.sparse = 'pax-0';
    member.size = integer(pax.get('GNU.sparse.realsize') ?? pax.get('GNU.sparse.size'), member.stored);
  }
}
