import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { checksum, paddingOf } from '../../src/tar/header.ts';
import { type TarMember, TarScanner } from '../../src/tar/scanner.ts';
import { type ContentHash, PlainHash, SparseHash } from '../../src/tar/sparse.ts';

export interface Scanned {
  members: (TarMember & { header: number; content: Buffer; padding: number; sha256: string })[];
  /** All bytes that the scanner told of, in order. */
  told: Buffer;
  ended: boolean;
  offset: number;
}

/** Scans chunks as a stream would bring them and checks that the sink's calls come in their order. */
export function scan(chunks: Iterable<Buffer>, finish = true): Scanned {
  const result: Scanned = { members: [], told: Buffer.alloc(0), ended: false, offset: 0 };
  const told: Buffer[] = [];
  let open: { content: Buffer[]; hash: ContentHash } | undefined;
  const scanner = new TarScanner({
    member(member, header) {
      if (open) throw new Error('a member began before the last one ended');
      open = {
        content: [],
        hash: member.sparse === 'pax-1.0' ? new SparseHash(member.size) : new PlainHash(),
      };
      result.members.push({
        ...member,
        pax: new Map(member.pax),
        header: header.length,
        content: Buffer.alloc(0),
        padding: 0,
        sha256: '',
      });
      told.push(Buffer.from(header));
    },
    content(bytes) {
      if (!open) throw new Error('content without a member');
      if (bytes.length === 0) throw new Error('empty content');
      open.content.push(Buffer.from(bytes));
      open.hash.update(bytes);
      told.push(Buffer.from(bytes));
    },
    memberEnd(padding) {
      const member = result.members.at(-1);
      if (!open || !member) throw new Error('the end of no member');
      member.content = Buffer.concat(open.content);
      member.padding = padding.length;
      member.sha256 = open.hash.digest();
      open = undefined;
      told.push(Buffer.from(padding));
    },
    end() {
      if (open) throw new Error('the end inside a member');
      if (result.ended) throw new Error('told twice of the end');
      result.ended = true;
    },
  });
  try {
    for (const chunk of chunks) scanner.push(chunk);
    if (finish) scanner.finish();
  } finally {
    result.told = Buffer.concat(told);
    result.offset = scanner.offset;
  }
  return result;
}

/** The bytes in chunks of `size`. */
export function* chunksOf(bytes: Buffer, size: number): Generator<Buffer> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

export function fixture(name: string): Buffer {
  return readFileSync(path.join(import.meta.dirname, '../../fixtures/tars', name));
}

export function sha256(bytes: Uint8Array | string): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** Arguments that make tar write what a helper's tar writes. */
export const HELPER_TAR = [
  '--format=pax',
  '--pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime',
  '--xattrs',
  '--xattrs-include=*',
  '--xattrs-exclude=security.selinux',
  '--xattrs-exclude=security.ima',
  '--xattrs-exclude=security.evm',
  '--acls',
  '--numeric-owner',
];

/** Runs GNU tar in `dir` and returns the archive. */
export function gnuTar(dir: string, ...args: string[]): Buffer {
  return execFileSync('tar', [...args, '-cf', '-', '-C', dir, '.'], {
    maxBuffer: 1 << 30,
    stdio: ['ignore', 'pipe', 'ignore'],
    env: { ...process.env, LC_ALL: 'C' },
  });
}

export interface HeaderFields {
  name?: string;
  type?: string;
  size?: number | Buffer;
  mtime?: string | Buffer;
  uid?: string | Buffer;
  mode?: string;
  link?: string;
}

/** A header block with a right checksum; fields as bytes or octal text. */
export function headerBlock(fields: HeaderFields = {}): Buffer {
  const block = Buffer.alloc(512);
  const put = (at: number, value: string | Buffer) =>
    (typeof value === 'string' ? Buffer.from(value, 'latin1') : value).copy(block, at);
  put(0, fields.name ?? 'file');
  put(100, fields.mode ?? '0000644');
  put(108, fields.uid ?? '0000000');
  put(116, '0000000');
  const size = fields.size ?? 0;
  put(124, typeof size === 'number' ? size.toString(8).padStart(11, '0') : size);
  put(136, fields.mtime ?? '00000000000');
  put(156, fields.type ?? '0');
  put(157, fields.link ?? '');
  put(257, 'ustar\x0000');
  return signed(block);
}

/** Sets the checksum of a header block to what it should be. */
export function signed(block: Buffer): Buffer {
  block.write(`${checksum(block).toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return block;
}

/** A member with its content and padding. */
export function member(fields: HeaderFields, content: Buffer = Buffer.alloc(0)): Buffer {
  const block = headerBlock({ size: content.length, ...fields });
  return Buffer.concat([block, content, Buffer.alloc(paddingOf(content.length))]);
}

/** A pax extended header with these records as they stand. */
export function paxHeader(records: string | Buffer, type = 'x'): Buffer {
  const data = typeof records === 'string' ? Buffer.from(records, 'latin1') : records;
  return member({ name: 'PaxHeaders/x', type }, data);
}

export const END = Buffer.alloc(1024);
