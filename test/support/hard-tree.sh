#!/usr/bin/env bash
# Fills an empty directory with a tree that is hard to archive, the same each time: hard-tree.sh <dir>
# Needs root, GNU coreutils, perl, setfattr, setfacl, and a file system with user xattrs and ACLs (ext4, xfs).
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export LC_ALL=C PATH=/usr/sbin:/usr/bin:/sbin:/bin:$PATH
umask 022
target=${1:?usage: hard-tree.sh <dir>}
((EUID == 0)) || { echo "hard-tree.sh: must run as root (devices, owners)" >&2; exit 1; }
"$here/packages.sh" setfattr=attr setfacl=acl perl=perl >&2
mkdir -p "$target"
cd "$target"
[[ -z $(ls -A) ]] || { echo "hard-tree.sh: not empty: $target" >&2; exit 2; }

# --- plain files: sizes around block and buffer borders, many small ones, contents that look like archives ---
mkdir content many sparse links xattrs acls modes owners special names sort symlinks times deep empty-dir
perl - <<'P'
use strict;
sub put { my ($name, $data) = @_; open(my $f, '>:raw', $name) or die "$name: $!"; print $f $data; close $f or die "$name: $!" }
sub noise { my ($seed, $size) = @_; srand($seed); my $n = int(($size + 3) / 4); substr(pack('N*', map { int(rand(4294967296)) } 1 .. $n), 0, $size) }
put('content/empty', '');
put("content/size-$_", noise($_, $_)) for 1, 511, 512, 513, 1023, 1024, 8191, 8192, 8193, 10240, 65536, 1048576, 1048577, 5242880;
put('content/zeros-1024', "\0" x 1024);
put('content/zeros-1048576', "\0" x 1048576);
put('content/text', join('', map { "line $_\n" } 1 .. 20000));
put('content/same-1', noise(99, 300000));
put('content/same-2', noise(99, 300000));
put(sprintf('many/%03d', $_), noise(1000 + $_, $_ * 7)) for 1 .. 300;
P
tar --format=pax --sort=name --mtime=@1 --owner=0 --group=0 --numeric-owner \
  --pax-option='exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime' -C content -cf special/inner.tar empty text zeros-1024
mv special/inner.tar content/inner.tar

# --- sparse files: data "x" at the given offsets ---
sparse() {
  perl -e 'use strict; my ($name, $size, @at) = @ARGV; open(my $f, ">:raw", $name) or die "$name: $!"; truncate($f, $size) or die "$name: $!";
    for (@at) { sysseek($f, $_, 0); syswrite($f, "data at $_\n") or die "$name: $!" } close $f or die' "$@"
}
sparse sparse/hole-at-start 2097152 2097000
sparse sparse/hole-in-middle 4194304 0 4194000
sparse sparse/hole-at-end 3145728 0
sparse sparse/only-hole 10485760
sparse sparse/odd-size 1234567 600000
sparse sparse/many-holes 33554432 $(seq 65536 131072 33400000)
sparse sparse/nine-gigabytes 9663676416 0 1048576 4294967296 8589934592 9663676400

# --- hard links: the first name made is not the first in order; across directories; of every type ---
mkdir links/a links/m links/z
echo "two names" >links/two-b && ln links/two-b links/two-a
echo "three names" >links/m/three && ln links/m/three links/z/three && ln links/m/three links/a/three
echo "late" >links/z/made-first && ln links/z/made-first links/early
echo "odd" >$'links/odd\nna\xffme \\' && ln $'links/odd\nna\xffme \\' links/zz-odd
perl -e 'open(my $f, ">", "links/big-b") or die; srand(5); print $f pack("N*", map { int(rand(4294967296)) } 1 .. 500000)' && ln links/big-b links/big-a
long=$(printf 'l%.0s' {1..255})
echo "long" >"links/$long" && ln "links/$long" links/z/long
ln -s two-a links/symlink-1 && ln -P links/symlink-1 links/symlink-2
mkfifo links/fifo-1 && ln links/fifo-1 links/fifo-2
mknod links/device-1 c 1 3 && ln links/device-1 links/device-2

# --- extended attributes, file capabilities, access control lists ---
for name in simple empty binary large several linked-1; do echo "$name" >"xattrs/$name"; done
ln xattrs/linked-1 xattrs/linked-2
mkdir xattrs/dir
setfattr -n user.note -v plain xattrs/simple
setfattr -n user.empty xattrs/empty
setfattr -n user.binary -v 0x000a3d0dff0a3230206d74696d653d310a00 xattrs/binary
setfattr -n user.large -v "$(printf 'v%.0s' {1..2000})" xattrs/large
for n in 1 2 3 4 5; do setfattr -n "user.several.$n" -v "value $n" xattrs/several; done
setfattr -n user.linked -v both xattrs/linked-1
setfattr -n user.dir -v directory xattrs/dir
for name in access read-only; do echo "$name" >"acls/$name"; done
mkdir acls/default acls/default/sub
setfacl -n -m u:1001:rw-,g:2002:r--,u:3000000:---,m::rw- acls/access
setfacl -m u:1001:r-- acls/read-only
setfacl -m u:1001:rwx,g:2002:r-x acls/default
setfacl -d -m u::rwx,u:1001:rwx,g::r-x,g:2002:r-x,o::---,m::rwx acls/default

# --- owners and modes (owners first: chown takes the set-user-ID bit and capabilities away) ---
owned() { echo "$2" >"owners/$1" && chown "$2" "owners/$1"; }
owned limit 2097151:2097151
owned above-limit 2097152:2097152
owned large 3000000:4000000
owned largest 4294967294:4294967294
owned no-such-user 54321:65533
mkdir owners/dir && chown 3000000:4000000 owners/dir
ln -s target owners/symlink && chown -h 3000000:1234 owners/symlink
for mode in 0000 0001 0400 0444 0600 0777 1644 2755 4755 6711 7777; do
  echo "$mode" >"modes/file-$mode" && chown 1000:1000 "modes/file-$mode" && chmod "$mode" "modes/file-$mode"
  mkdir "modes/dir-$mode" && echo in >"modes/dir-$mode/in" && chown 1000:1000 "modes/dir-$mode" && chmod "$mode" "modes/dir-$mode"
done
echo capable >xattrs/capability && chown 1000:1000 xattrs/capability && chmod 755 xattrs/capability
setfattr -n security.capability -v 0x0100000200200000000000000000000000000000 xattrs/capability
echo capable >xattrs/capability-and-acl && setfacl -m u:1001:r-x xattrs/capability-and-acl
setfattr -n security.capability -v 0x0100000200200000002000000000000000000000 xattrs/capability-and-acl
setfattr -n user.note -v both xattrs/capability-and-acl

# --- special files ---
mknod special/null c 1 3
mknod special/loop b 7 200
mknod special/high c 4095 1048575
mkfifo special/fifo
chmod 640 special/fifo && chown 1000:3000000 special/fifo
(cd special && perl -MSocket -e 'socket(my $s, PF_UNIX, SOCK_STREAM, 0) or die; bind($s, pack_sockaddr_un("socket")) or die "socket: $!"')

# --- names ---
named() { printf '%s' "$1" >"names/$1"; }
for name in $'latin-\xe9' $'\xff\xfe' $'new\nline' $'\n' $'end\n' $'tab\there' $'carriage\rreturn' ' leading' 'trailing ' ' ' 'two  spaces' \
  '-rf' '--help' '-' '"double"' "'single'" '`tick`' 'back\slash' 'back\nslash' '\' '\\' '\012' '$HOME' '~' '#' '%s' '*' '?' '[a]' \
  '{a,b}' 'a;b' 'a|b' 'a&b' 'a<b>' '!' '...' '..a' '.hidden' 'colon:' '@at' '=' 'a=b' $'\x01' $'esc\x1b[31m' $'del\x7f' $'nfc-\xc3\xa9' \
  $'nfd-e\xcc\x81' $'\xf0\x9f\x90\xb3' $'\xe2\x80\xae'; do
  named "$name"
done
printf -v name 'n%.0s' {1..255} && named "$name"
for length in 98 99 100 101 154 155 156; do printf -v name "%0${length}d" "$length" && named "$name"; done
name=; for _ in {1..85}; do name+=$'\xe2\x82\xac'; done && named "$name"
printf -v name '\xfe%.0s' {1..255} && named "$name"
mkdir $'names/dir\nwith\xff odd \\name' && echo in >$'names/dir\nwith\xff odd \\name/in'

# Orders differ between comparing names, whole paths, and paths with a slash after directories.
mkdir sort/a sort/B sort/a.d
for name in a-b a. 'a b' a0 ab A b Z_ a/c a/-c a.d/c $'a\x01' $'a\xff' $'a!'; do echo "$name" >"sort/$name"; done

# --- paths of about 2,000 bytes ---
path=deep
for n in 1 2 3 4 5 6 7 8; do
  printf -v part "%d%0239d" "$n" 0
  path+=/$part
  mkdir "$path"
  echo "$n" >"$path/file"
done
echo end >"$path/$(printf 'e%.0s' {1..50})"
ln "$path/file" links/deep-name
ln -s ../file "$path/symlink"

# --- symbolic links ---
ln -s nowhere symlinks/dangling
ln -s /etc/passwd symlinks/absolute
ln -s ../../../../../../../../etc symlinks/out
ln -s .. symlinks/parent
ln -s itself symlinks/itself
ln -s 'a target with  spaces ' symlinks/spaces
ln -s $'new\nline' symlinks/newline
ln -s $'\xff\\ -> \xfe' symlinks/bytes
ln -s "$(printf 't%.0s' {1..100})" symlinks/target-100
ln -s "$(printf 't%.0s' {1..101})" symlinks/target-101
ln -s "$(printf 't%.0s' {1..4000})" symlinks/target-4000

# --- times, last: first everything, then what is special, then the directories of these, then the root ---
chown 1234:4321 .
chmod 2751 .
find . -type l -print0 | xargs -0 touch -h -d @1300000000.5
find . ! -type l ! -type d -print0 | xargs -0 touch -h -d @1500000000.123456789
timed() { echo "$1" >"times/$1" && touch -d "@$2" "times/$1"; }
timed epoch 0
timed epoch-and-a-nanosecond 0.000000001
timed nanosecond-before 1600000000.999999999
timed whole-second 1600000000
timed tenth 1600000000.1
timed before-epoch -1
timed half-before-epoch -0.5
timed fraction-before-epoch -1.5
timed long-before-epoch -1000000000.25
timed year-1901 -2147483648
timed last-of-31-bits 2147483647.5
timed first-of-32-bits 2147483648
timed year-2100 4102444800.75
timed last-of-eleven-octal-digits 8589934591
timed first-of-twelve-octal-digits 8589934592.125
timed year-2400 13569465600
timed year-2500 16725225600
mkdir times/dir-before-epoch times/dir-2100
ln -s nowhere times/symlink-before-epoch && touch -h -d @-86400.000000001 times/symlink-before-epoch
find . -depth -type d -print0 | xargs -0 touch -d @1400000000.987654321
touch -d @-1.5 times/dir-before-epoch
touch -d @4102444800.25 times/dir-2100
touch -d @1234567890 many
touch -d @1555555555.000000001 .
