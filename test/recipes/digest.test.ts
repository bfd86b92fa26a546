import { execFile } from 'node:child_process';
import { createReadStream } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, it } from 'vitest';
import type { ByteString } from '../../src/core/bytes.ts';
import type { IndexMember } from '../../src/core/member.ts';
import { digestLine, VolumeDigest } from '../../src/tar/digest.ts';
import { type TarMember, TarScanner } from '../../src/tar/scanner.ts';
import { type ContentHash, PlainHash, SparseHash } from '../../src/tar/sparse.ts';
import { tempDir } from '../support/temp.ts';

const run = promisify(execFile);
const RECIPE = path.join(import.meta.dirname, '../../recipes/digest.sh');
const PACKAGES = path.join(import.meta.dirname, '../support/packages.sh');

async function bash(script: string, ...args: string[]): Promise<string> {
  const { stdout } = await run(
    'bash',
    ['-euo', 'pipefail', '-c', `export LC_ALL=C\n${script}`, 'bash', ...args],
    {
      maxBuffer: 64 * 1024 * 1024,
      encoding: 'latin1',
    },
  );
  return stdout;
}

/** Small, and odd wherever a digest could go wrong. Needs root. */
const ODD_TREE = `
cd "$1"
umask 022
mkdir plain order links attrs special empty-dir
: >plain/empty
printf 'x%.0s' {1..3000} >plain/text
head -c 300000 /dev/urandom >plain/large
truncate -s 5M plain/hole && printf data | dd of=plain/hole bs=1 seek=2000000 conv=notrunc status=none
truncate -s 1M plain/only-hole

mkdir order/a order/a.d
for name in a-b 'a b' a0 A a/c a/-c a.d/c $'a\\x01' $'a\\xff' $'a/\\x01' 'a!'; do echo "$name" >"order/$name"; done
for name in $'new\\nline' $'end\\n' $'\\n' $'\\xff\\xfe' ' ' '-rf' '--' 'back\\slash' '\\012' '"' '*' '%s' '$(id)' $'\\xc3\\xa9' ' .' ' ./x'; do
  mkdir -p "special/$(dirname -- "$name")" && echo in >"special/$name"
done
mkdir $'special/dir\\nwith\\xff \\\\' && echo in >$'special/dir\\nwith\\xff \\\\/in'

echo two >links/b && ln links/b links/a
echo late >links/z && ln links/z special/$'odd\\n\\xfe\\\\'
head -c 20000 /dev/urandom >links/big-2 && ln links/big-2 links/big-1
ln -s 'to  //nowhere ' links/symlink && ln -P links/symlink links/symlink-2
ln -s $'\\n\\xff' links/odd-target
mkfifo links/fifo && ln links/fifo links/fifo-2
mknod special/null c 1 3 && ln special/null special/null-2
mknod special/high c 4095 1048575 && mknod special/loop b 7 200
perl -MSocket -e 'socket(my $s, PF_UNIX, SOCK_STREAM, 0) or die; bind($s, pack_sockaddr_un("special/socket")) or die'

for name in one empty binary several linked both; do echo "$name" >"attrs/$name"; done
ln attrs/linked attrs/linked-2
mkdir attrs/dir && setfattr -n user.dir -v directory attrs/dir
setfattr -n user.note -v plain attrs/one && setfattr -n user.empty attrs/empty
setfattr -n user.binary -v 0x000a3d0dff0a3230206d74696d653d310a00 attrs/binary
for n in b.2 a B.1 b b-2 ab; do setfattr -n "user.$n" -v "value $n" attrs/several; done
setfattr -n $'user.odd name\\n\\\\\\xff' -v 1 attrs/several
setfattr -n user.linked -v x attrs/linked
setfattr -n trusted.left -v out attrs/one && setfattr -n trusted.left -v out plain/text
setfattr -h -n trusted.left -v out links/symlink
echo in >$'attrs/na\\nme\\xff\\\\' && setfattr -n user.note -v odd $'attrs/na\\nme\\xff\\\\'
setfacl -m u:1001:rwx,g:2002:r-x attrs/dir && setfacl -d -m u:1001:rwx,m::rwx attrs/dir
setfacl -n -m u:1001:rw-,m::rw- attrs/both && setfattr -n user.note -v both attrs/both
setfattr -n security.capability -v 0x0100000200200000000000000000000000000000 attrs/both

chown 3000000:4294967294 plain/text && chown -h 1234:54321 links/odd-target
chmod 0 plain/empty && chmod 7777 plain/large && chmod 1 order/A && chmod 2750 .
touch -d @0 plain/empty && touch -d @-1.5 plain/text && touch -d @4102444800.000000001 plain/large
touch -h -d @-86400 links/symlink && touch -d @1600000000.1 order/A && touch -d @1500000000.5 . plain
`;

/** As a backup does it: find, sort, tar (docs/format.md). */
const ARCHIVE = `
cd "$1"
find . ! -type s -printf '%p\\0' | tr '/\\001' '\\001/' | sort -z | tr '/\\001' '\\001/' |
  tar --create --format=pax --pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime \\
    --xattrs '--xattrs-include=*' --xattrs-exclude=security.selinux --xattrs-exclude=security.ima \\
    --xattrs-exclude=security.evm --acls --numeric-owner --sparse --no-recursion --null --verbatim-files-from \\
    --files-from=- --file="$2"
`;

async function archive(tree: string, file: string): Promise<IndexMember[]> {
  await bash(ARCHIVE, tree, file);
  const members: IndexMember[] = [];
  let hash: ContentHash | undefined;
  const scanner = new TarScanner({
    member(tar: TarMember) {
      hash = undefined;
      if (tar.type === 'file') hash = tar.sparse === 'pax-1.0' ? new SparseHash(tar.size) : new PlainHash();
      members.push({ ...tar, span: 0 });
    },
    content: (bytes) => hash?.update(bytes),
    memberEnd() {
      const member = members.at(-1) as IndexMember;
      if (hash) member.sha256 = hash.digest();
    },
    end() {},
  });
  for await (const chunk of createReadStream(file)) scanner.push(chunk as Buffer);
  scanner.finish();
  return members;
}

/** A digest's line as `digest.sh --lines` prints it. */
function readable(member: IndexMember): ByteString {
  return digestLine(member)
    .toString('latin1')
    .replace(/\\/g, '\\\\')
    .replace(/\0/g, '\\0')
    .replace(/[^\x20-\x7e]/g, (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, '0')}`);
}

function digestOf(members: readonly IndexMember[]): string {
  const digest = new VolumeDigest();
  for (const member of members) digest.add(member);
  return digest.digest();
}

describe.runIf(process.getuid?.() === 0)('recipes/digest.sh', () => {
  let scratch: string;
  let tree: string;
  let members: IndexMember[];

  beforeAll(async () => {
    scratch = await tempDir();
    tree = path.join(scratch, 'tree');
    await run(PACKAGES, ['setfattr=attr', 'getfattr=attr', 'setfacl=acl', 'perl=perl']);
    await bash('mkdir "$1"', tree);
    await bash(ODD_TREE, tree);
    members = await archive(tree, path.join(scratch, 'tree.tar'));
  });

  it('prints the line of each member that the tar scanner sees', async () => {
    const lines = (await bash('"$1" --lines "$2"', RECIPE, tree)).trimEnd().split('\n');
    expect(lines).toEqual(members.map(readable));
    expect(lines.some((line) => line.includes('socket'))).toBe(false);
    for (const type of ['file', 'dir', 'symlink', 'hardlink', 'fifo', 'char', 'block']) {
      expect(lines.some((line) => line.startsWith(`${type} `))).toBe(true);
    }
  });

  it('prints the digest', async () => {
    expect(await bash('"$1" "$2"', RECIPE, tree)).toBe(`${digestOf(members)}\n`);
  });

  it('prints the same for a copy that tar extracted, and another for one that differs in an attribute', async () => {
    const copy = path.join(scratch, 'copy');
    await bash(
      `mkdir "$2" && tar -xp --numeric-owner --xattrs '--xattrs-include=*' --acls --delay-directory-restore \\
        --warning=no-timestamp -C "$2" -f "$1"`,
      path.join(scratch, 'tree.tar'),
      copy,
    );
    expect(await bash('"$1" "$2"', RECIPE, copy)).toBe(`${digestOf(members)}\n`);
    await bash('setfattr -n user.note -v other "$1/attrs/one"', copy);
    expect(await bash('"$1" "$2"', RECIPE, copy)).not.toBe(`${digestOf(members)}\n`);
  });

  it('takes an empty directory, and refuses what is none', async () => {
    const empty = path.join(scratch, 'empty');
    await bash('mkdir "$1"', empty);
    const [root, ...others] = await archive(empty, path.join(scratch, 'empty.tar'));
    expect(others).toEqual([]);
    expect(await bash('"$1" "$2"', RECIPE, empty)).toBe(`${digestOf([root as IndexMember])}\n`);
    await expect(bash('"$1" "$2"', RECIPE, path.join(scratch, 'none'))).rejects.toThrow('not a directory');
    await expect(bash('TMPDIR=$2 "$1" "$2"', RECIPE, empty)).rejects.toThrow('TMPDIR');
  });

  // GNU tar writes such names with %3D and %25 into its pax records.
  it('agrees on attributes whose names hold = or %', async () => {
    const other = path.join(scratch, 'names');
    await bash('mkdir "$1" && setfattr -n user.a=b -v 1 "$1" && setfattr -n user.%25 -v 2 "$1"', other);
    const seen = await archive(other, path.join(scratch, 'names.tar'));
    expect(await bash('"$1" "$2"', RECIPE, other)).toBe(`${digestOf(seen)}\n`);
  });
});
