import type { ByteString } from '../core/bytes.ts';
import type { MemberType } from '../core/member.ts';

export const BLOCK = 512;

/** A damaged or hostile archive; `offset` is where in the tar. */
export class TarError extends Error {
  readonly offset: number;
  constructor(message: string, offset: number) {
    super(`${message} at byte ${offset} of the tar`);
    this.name = 'TarError';
    this.offset = offset;
  }
}

/** Fields of one 512-byte ustar, GNU or v7 header as they stand there. */
export interface RawHeader {
  name: ByteString;
  mode: number;
  uid: number;
  gid: number;
  size: number;
  mtime: number;
  typeflag: string;
  link: ByteString;
  major: number;
  minor: number;
}

const TYPES: Record<string, MemberType> = {
  '0': 'file',
  '\0': 'file',
  '7': 'file',
  S: 'file',
  '1': 'hardlink',
  '2': 'symlink',
  '3': 'char',
  '4': 'block',
  '5': 'dir',
  D: 'dir',
  '6': 'fifo',
};

/** Member type of a type flag; undefined for what is no member (pax and GNU extension headers, labels). */
export function typeOfFlag(flag: string): MemberType | undefined {
  return TYPES[flag];
}

/** Number of padding bytes after `size` bytes of content. */
export function paddingOf(size: number): number {
  return (BLOCK - (size % BLOCK)) % BLOCK;
}

function cString(block: Buffer, start: number, length: number): ByteString {
  const end = block.indexOf(0, start);
  return block.toString('latin1', start, end < 0 || end > start + length ? start + length : end);
}

/** An octal field, or GNU's base-256 form (high bit set). Throws RangeError where it is neither. */
export function parseNumber(block: Buffer, start: number, length: number): number {
  const first = block[start] ?? 0;
  if (first & 0x80) return parseBase256(block, start, length);
  const text = cString(block, start, length).trim();
  if (text === '') return 0;
  if (!/^[0-7]+$/.test(text)) throw new RangeError('bad number in header');
  return Number.parseInt(text, 8);
}

function parseBase256(block: Buffer, start: number, length: number): number {
  const negative = block[start] === 0xff;
  let value = negative ? -1n : BigInt((block[start] ?? 0) & 0x7f);
  for (let i = start + 1; i < start + length; i++) value = (value << 8n) | BigInt(block[i] ?? 0);
  const number = Number(value);
  if (!Number.isSafeInteger(number)) throw new RangeError('number out of range in header');
  return number;
}

/** Sum of the header's bytes with its checksum field taken as spaces. */
export function checksum(block: Buffer): number {
  let sum = 8 * 0x20;
  for (let i = 0; i < 148; i++) sum += block[i] ?? 0;
  for (let i = 156; i < BLOCK; i++) sum += block[i] ?? 0;
  return sum;
}

/** A number that cannot be below zero. */
function parseCount(block: Buffer, start: number, length: number): number {
  const number = parseNumber(block, start, length);
  if (number < 0) throw new RangeError('negative number in header');
  return number;
}

/** Parses one header block. Throws TarError where its checksum or a field is wrong. */
export function parseHeader(block: Buffer, offset: number): RawHeader {
  try {
    if (parseNumber(block, 148, 8) !== checksum(block)) throw new RangeError('wrong header checksum');
    const magic = block.toString('latin1', 257, 262);
    const prefix = magic === 'ustar' && block[263] === 0x30 ? cString(block, 345, 155) : '';
    const name = cString(block, 0, 100);
    return {
      name: prefix === '' ? name : `${prefix}/${name}`,
      mode: parseCount(block, 100, 8) & 0o7777,
      uid: parseCount(block, 108, 8),
      gid: parseCount(block, 116, 8),
      size: parseCount(block, 124, 12),
      mtime: parseNumber(block, 136, 12),
      typeflag: block.toString('latin1', 156, 157),
      link: cString(block, 157, 100),
      major: magic === 'ustar' ? parseCount(block, 329, 8) : 0,
      minor: magic === 'ustar' ? parseCount(block, 337, 8) : 0,
    };
  } catch (error) {
    if (error instanceof RangeError) throw new TarError(error.message, offset);
    throw error;
  }
}

/** True if the block is all zeros, the mark of an archive's end. */
export function isZeroBlock(block: Buffer): boolean {
  for (let i = 0; i < BLOCK; i += 4) if (block.readInt32LE(i) !== 0) return false;
  return true;
}

/** GNU's sparse format 0.0 repeats these two for each extent; all other records count by their last value. */
const REPEATED = new Set(['GNU.sparse.offset', 'GNU.sparse.numbytes']);

/**
 * Records of a pax extended header, in order; keys and values as bytes. A sparse map of format 0.0 becomes one of 0.1.
 * Throws TarError.
 */
export function parsePax(data: Buffer, offset: number): Map<string, string> {
  const records = new Map<string, string>();
  const extents: string[] = [];
  let at = 0;
  while (at < data.length) {
    const space = data.indexOf(0x20, at);
    const digits = space < 0 || space - at > 10 ? '' : data.toString('latin1', at, space);
    const length = /^\d+$/.test(digits) ? Number(digits) : Number.NaN;
    const end = at + length;
    const equals = data.indexOf(0x3d, space);
    if (
      !Number.isInteger(length) ||
      length < 5 ||
      end > data.length ||
      data[end - 1] !== 0x0a ||
      equals < 0 ||
      equals >= end
    ) {
      throw new TarError('damaged pax record', offset + at);
    }
    const key = data.toString('latin1', space + 1, equals);
    const value = data.toString('latin1', equals + 1, end - 1);
    if (REPEATED.has(key)) extents.push(value);
    else records.set(key, value);
    at = end;
  }
  if (extents.length > 0) records.set('GNU.sparse.map', extents.join(','));
  return records;
}

/** Records in force at once, and their bytes: beyond this they are a bomb, not attributes. */
const MAX_RECORDS = 10_000;
const MAX_RECORD_BYTES = 16 * 1024 * 1024;

/** Adds the records of a pax header to those in force. Throws TarError. */
export function addPax(records: Map<string, string>, data: Buffer, offset: number): void {
  for (const [key, value] of parsePax(data, offset)) {
    records.set(key, value);
    if (records.size > MAX_RECORDS) throw new TarError('too many records in extended headers', offset);
  }
  let bytes = 0;
  for (const [key, value] of records) bytes += key.length + value.length;
  if (bytes > MAX_RECORD_BYTES) throw new TarError('extended headers are too large', offset);
}

/** Bytes of a pax record `<length> <key>=<value>\n`, where length counts itself. */
export function paxRecord(key: string, value: ByteString): Buffer {
  const body = key.length + value.length + 3;
  let length = body + String(body).length;
  if (String(length).length !== String(body).length) length = body + String(length).length;
  return Buffer.from(`${length} ${key}=${value}\n`, 'latin1');
}
