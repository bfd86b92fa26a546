import type { ByteString } from '../core/bytes.ts';
import { BLOCK, checksum, paddingOf, paxRecord } from './header.ts';
import type { TarMember, TarSink } from './scanner.ts';

/** What becomes of a member: undefined leaves it out. Names as they shall stand in the archive. */
export type MemberMap = (member: TarMember) => { name: ByteString; link?: ByteString } | undefined;

const NAME_LENGTH = 100;

/**
 * Writes a tar anew with other names: header blocks are made again, content passes untouched. `out` is called with
 * bytes that are only valid during the call. The end mark is written by `finish`, so that several archives can be
 * joined.
 */
export class TarRewriter implements TarSink {
  readonly #map: MemberMap;
  readonly #out: (bytes: Buffer) => void;
  #passing = false;
  members = 0;

  constructor(map: MemberMap, out: (bytes: Buffer) => void) {
    this.#map = map;
    this.#out = out;
  }

  member(member: TarMember, header: Buffer): void {
    const target = this.#map(member);
    this.#passing = target !== undefined;
    if (!target) return;
    this.members++;
    const name = member.type === 'dir' && !target.name.endsWith('/') ? `${target.name}/` : target.name;
    if (name === member.rawName && target.link === undefined) this.#out(header);
    else this.#out(renamedHeader(member, header, name, target.link));
  }

  content(bytes: Buffer): void {
    if (this.#passing) this.#out(bytes);
  }

  memberEnd(padding: Buffer): void {
    if (this.#passing && padding.length > 0) this.#out(padding);
  }

  end(): void {}

  /** The two zero blocks that end an archive. */
  finish(): void {
    this.#out(Buffer.alloc(2 * BLOCK));
  }
}

/** Header blocks of a member under another name: one pax header with all its records, then its own block(s). */
function renamedHeader(
  member: TarMember,
  header: Buffer,
  name: ByteString,
  link: ByteString | undefined,
): Buffer {
  const records = new Map(member.pax);
  if (records.has('GNU.sparse.name')) records.set('GNU.sparse.name', name);
  else records.set('path', name);
  if (link !== undefined) records.set('linkpath', link);
  const body = Buffer.concat([...records].map(([key, value]) => paxRecord(key, value)));
  const own = Buffer.from(header.subarray(member.blockAt));
  setName(own, member.sparse === 'pax-1.0' ? `GNUSparseFile.1/${name}` : name);
  if (link !== undefined) setField(own, 157, NAME_LENGTH, link);
  setChecksum(own);
  const pax = Buffer.from(own.subarray(0, BLOCK));
  setName(pax, `PaxHeaders/${name.replace(/\/$/, '').split('/').at(-1) ?? ''}`);
  setField(pax, 100, 8, '0000644\0');
  setField(pax, 124, 12, `${body.length.toString(8).padStart(11, '0')}\0`);
  pax[156] = 0x78;
  pax.fill(0, 157, 257);
  setField(pax, 257, 8, 'ustar\x0000');
  setChecksum(pax);
  return Buffer.concat([pax, body, Buffer.alloc(paddingOf(body.length)), own]);
}

function setField(block: Buffer, at: number, length: number, text: string): void {
  block.fill(0, at, at + length);
  block.write(text.slice(0, length), at, 'latin1');
}

function setName(block: Buffer, name: ByteString): void {
  setField(block, 0, NAME_LENGTH, name);
  // A ustar prefix would be put before the name; GNU's old format keeps other things there.
  if (block.toString('latin1', 257, 263) === 'ustar\0') block.fill(0, 345, 500);
}

function setChecksum(block: Buffer): void {
  setField(block, 148, 8, `${checksum(block).toString(8).padStart(6, '0')}\0 `);
}
