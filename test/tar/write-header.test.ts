import { describe, expect, it } from 'vitest';
import { type TarMember, TarScanner } from '../../src/tar/scanner.ts';
import { type NewMember, writeHeader } from '../../src/tar/write-header.ts';

function read(header: Buffer): TarMember[] {
  const members: TarMember[] = [];
  const scanner = new TarScanner({
    member: (member) => members.push({ ...member }),
    content() {},
    memberEnd() {},
    end() {},
  });
  scanner.push(header);
  return members;
}

const FILE: NewMember = {
  name: './db.sql',
  type: 'file',
  size: 0,
  mode: 0o600,
  uid: 0,
  gid: 0,
  mtime: 1_700_000_000,
};

describe('writeHeader', () => {
  it('writes what the scanner reads', () => {
    expect(read(writeHeader({ ...FILE, size: 1234 }))).toMatchObject([
      { path: './db.sql', type: 'file', size: 1234, mode: 0o600, mtime: '1700000000.000000000' },
    ]);
    expect(read(writeHeader({ ...FILE, name: '.', type: 'dir', mode: 0o755 }))).toMatchObject([
      { path: '.', type: 'dir', mode: 0o755 },
    ]);
  });

  it.each([0o77777777777, 0o77777777777 + 1, 5e12])('has room for %d bytes', (size) => {
    expect(read(writeHeader({ ...FILE, size }))).toMatchObject([
      { path: './db.sql', type: 'file', size, stored: size },
    ]);
  });
});
