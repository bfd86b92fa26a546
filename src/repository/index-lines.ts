import { type ByteString, fromText, toBytes, toText } from '../core/bytes.ts';
import { VolbakError } from '../core/errors.ts';
import type { IndexMember, Member, MemberType } from '../core/member.ts';
import { type FrameRef, isFrameRef } from './frame-ref.ts';

/** First line of an index. */
export interface IndexHead {
  volume: string;
  format: 1;
  cut: 1;
}

export type IndexLine =
  | { kind: 'head'; head: IndexHead }
  | { kind: 'frame'; frame: FrameRef }
  | { kind: 'member'; member: IndexMember };

const TYPES = new Set<string>(['file', 'dir', 'symlink', 'hardlink', 'fifo', 'char', 'block']);
const TIME = /^-?\d{1,20}\.\d{9}$/;
const HEX64 = /^[0-9a-f]{64}$/;

/** The line of a member, without its newline. Keys in a fixed order: equal members make equal bytes. */
export function memberLine(m: IndexMember): string {
  return JSON.stringify({
    ...nameFields('path', m.path),
    type: m.type,
    ...(m.type === 'file' ? { size: m.size } : {}),
    mode: m.mode,
    uid: m.uid,
    gid: m.gid,
    mtime: m.mtime,
    ...(m.ctime === undefined ? {} : { ctime: m.ctime, ino: m.ino, nlink: m.nlink }),
    ...(m.link === undefined ? {} : nameFields('link', m.link)),
    ...(m.device === undefined ? {} : { device: m.device }),
    span: m.span,
    ...(m.xattrs === undefined ? {} : { xattrs: m.xattrs }),
    ...(m.sha256 === undefined ? {} : { sha256: m.sha256 }),
    ...(m.suspect ? { suspect: true } : {}),
  });
}

/** What a listing tells of a member, as an index keeps it. */
type ListedFields = Pick<Member, 'path' | 'size' | 'mode' | 'uid' | 'gid' | 'mtime'> & {
  type: string;
  ctime: string;
  ino: number;
  nlink: number;
};

/**
 * How the line of a member begins that was listed so: up to what only reading it tells. `laterName`: tar archives it as a
 * link to a name before it.
 */
export function memberLineStart(m: ListedFields, laterName: boolean): string {
  const type = laterName ? 'hardlink' : m.type;
  const fields = {
    ...nameFields('path', m.path),
    type,
    ...(type === 'file' ? { size: m.size } : {}),
    mode: m.mode,
    uid: m.uid,
    gid: m.gid,
    mtime: m.mtime,
    ctime: m.ctime,
    ino: m.ino,
    nlink: m.nlink,
  };
  return `${JSON.stringify(fields).slice(0, -1)},`;
}

function nameFields(key: 'path' | 'link', name: ByteString): Record<string, string> {
  const text = toText(name);
  return text === undefined ? { [`${key}64`]: toBytes(name).toString('base64') } : { [key]: text };
}

const FRAME_LINE = '{"frame":';

/** Tells a frame's line without parsing it. */
export function isFrameLine(line: string): boolean {
  return line.startsWith(FRAME_LINE);
}

/** Parses the line of a member. Raises INTEGRITY. */
export function parseMemberLine(text: string): IndexMember {
  const line = parseIndexLine(text);
  if (line.kind !== 'member') throw damaged();
  return line.member;
}

/** Parses a line of an index. Raises INTEGRITY for anything the format does not allow. */
export function parseIndexLine(line: string): IndexLine {
  let value: Record<string, unknown>;
  try {
    value = JSON.parse(line);
  } catch (error) {
    throw damaged(error);
  }
  if (typeof value !== 'object' || value === null) throw damaged();
  if ('frame' in value) {
    if (!isFrameRef(value.frame)) throw damaged();
    return { kind: 'frame', frame: value.frame };
  }
  if ('volume' in value) {
    if (value.format !== 1 || value.cut !== 1 || typeof value.volume !== 'string') throw damaged();
    return { kind: 'head', head: { volume: value.volume, format: 1, cut: 1 } };
  }
  return { kind: 'member', member: parseMember(value) };
}

function parseMember(v: Record<string, unknown>): IndexMember {
  const type = string(v.type);
  if (!TYPES.has(type) || !TIME.test(string(v.mtime))) throw damaged();
  const member: IndexMember = {
    path: name(v.path, v.path64),
    type: type as MemberType,
    size: type === 'file' ? integer(v.size) : 0,
    mode: integer(v.mode),
    uid: integer(v.uid),
    gid: integer(v.gid),
    mtime: string(v.mtime),
    span: integer(v.span),
  };
  if (member.path !== '.' && !member.path.startsWith('./')) throw damaged();
  if (v.ctime !== undefined) {
    member.ctime = string(v.ctime);
    member.ino = integer(v.ino);
    member.nlink = integer(v.nlink);
  }
  if (v.link !== undefined || v.link64 !== undefined) member.link = name(v.link, v.link64);
  if (v.device !== undefined) member.device = string(v.device);
  if (v.xattrs !== undefined) member.xattrs = hash(v.xattrs);
  if (v.sha256 !== undefined) member.sha256 = hash(v.sha256);
  if (v.suspect === true) member.suspect = true;
  return member;
}

function damaged(cause?: unknown): VolbakError {
  return new VolbakError('INTEGRITY', 'a line of an index is damaged', { cause });
}

function string(value: unknown): string {
  if (typeof value !== 'string') throw damaged();
  return value;
}

function integer(value: unknown): number {
  if (!Number.isSafeInteger(value) || (value as number) < 0) throw damaged();
  return value as number;
}

function hash(value: unknown): string {
  if (typeof value !== 'string' || !HEX64.test(value)) throw damaged();
  return value;
}

function name(text: unknown, base64: unknown): ByteString {
  const bytes =
    base64 === undefined ? fromText(string(text)) : Buffer.from(string(base64), 'base64').toString('latin1');
  if (bytes === '' || bytes.includes('\0')) throw damaged();
  return bytes;
}
