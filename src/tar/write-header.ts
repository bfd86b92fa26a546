import type { ByteString } from '../core/bytes.ts';
import { BLOCK, checksum, paddingOf, paxRecord } from './header.ts';

/** What a header made here says; the name is at most 98 bytes, so that a directory's slash fits, too. */
export interface NewMember {
  name: ByteString;
  type: 'file' | 'dir';
  size: number;
  mode: number;
  uid: number;
  gid: number;
  /** Whole seconds. */
  mtime: number;
}

/** Eleven octal digits. */
const MAX_USTAR_SIZE = 0o77777777777;

/** The header blocks of a member: one of ustar, with a pax header before it where the size needs it. */
export function writeHeader(member: NewMember): Buffer {
  const { name, type, size } = member;
  const own = block(type === 'dir' ? `${name}/` : name, type === 'dir' ? '5' : '0', {
    ...member,
    size: size > MAX_USTAR_SIZE ? 0 : size,
  });
  if (size <= MAX_USTAR_SIZE) return own;
  const body = paxRecord('size', String(size));
  const pax = block(`PaxHeaders/${name.split('/').at(-1)}`, 'x', {
    ...member,
    mode: 0o644,
    size: body.length,
  });
  return Buffer.concat([pax, body, Buffer.alloc(paddingOf(body.length)), own]);
}

function block(name: ByteString, flag: string, member: Omit<NewMember, 'name' | 'type'>): Buffer {
  const header = Buffer.alloc(BLOCK);
  const octal = (at: number, length: number, value: number) =>
    header.write(`${value.toString(8).padStart(length - 1, '0')}\0`, at, 'latin1');
  header.write(name, 0, 100, 'latin1');
  octal(100, 8, member.mode);
  octal(108, 8, member.uid);
  octal(116, 8, member.gid);
  octal(124, 12, member.size);
  octal(136, 12, member.mtime);
  header.write(flag, 156, 'latin1');
  header.write('ustar\x0000', 257, 'latin1');
  header.write(`${checksum(header).toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return header;
}
