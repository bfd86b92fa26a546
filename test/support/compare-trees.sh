#!/usr/bin/env bash
# Compares two directory trees by what GNU tar sees of them: compare-trees.sh [--without-root] <a> <b>
# Names, types, modes, owners, times, contents, links, devices, xattrs, ACLs. Not compared: sockets (tar leaves them out),
# where holes are, atime, ctime. Equal: exit 0. Different: a diff (< a, > b) and exit 1. Cannot tell: exit 2.
# Files of more than 64 MiB do not go through tar: their holes are skipped, and data is hashed with its place.
set -euo pipefail
export LC_ALL=C
root=1
[[ ${1:-} == --without-root ]] && root=0 && shift
(($# == 2)) || { echo "usage: compare-trees.sh [--without-root] <a> <b>" >&2; exit 2; }
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# One line for each member: name, type, mode, owner, size, time, link, device, xattrs and ACLs, hash of the content.
cat >"$scratch/members.pl" <<'P'
use strict; use warnings; no warnings 'portable'; use Digest::SHA;
binmode STDIN;
sub take { my ($n) = @_; my $got = ''; while (length $got < $n) { my $r = read(STDIN, $got, $n - length $got, length $got); die "archive cut short\n" unless $r } $got }
sub show { my ($s) = @_; $s =~ s/([^\x21-\x5b\x5d-\x7e])/sprintf '\\x%02x', ord $1/ge; length $s > 300 ? substr($s, 0, 200) . '...' . Digest::SHA::sha256_hex($s) : $s }
sub text { my ($s) = @_; $s =~ s/\0.*//s; $s }
sub number { my ($s) = @_; my $first = ord $s; if ($first & 128) { my $v = $first == 255 ? -1 : $first & 127; $v = $v * 256 + ord for split //, substr $s, 1; return $v } $s =~ s/[^0-7]//g; length $s ? oct $s : 0 }
my %pax;
while (1) {
  my $h = take(512);
  last if $h eq "\0" x 512;
  my $type = substr $h, 156, 1; $type = '0' if $type eq "\0";
  my $size = $pax{size} // number(substr $h, 124, 12);
  my $padded = int(($size + 511) / 512) * 512;
  if ($type eq 'x') {
    my $d = substr take($padded), 0, $size; %pax = ();
    while (length $d) { $d =~ /^(\d+) / or die "bad pax record\n"; my $record = substr $d, 0, $1, ''; $record =~ /^\d+ ([^=]+)=(.*)\n\z/s or die "bad pax record\n"; $pax{$1} = $2 }
    next;
  }
  die "unexpected member type $type\n" unless $type =~ /[0-7]/;
  my $prefix = text(substr $h, 345, 155);
  my $name = $pax{path} // (length $prefix ? "$prefix/" : '') . text(substr $h, 0, 100);
  my $digest = Digest::SHA->new(256);
  for (my $left = $padded, my $data = $size; $left > 0;) { my $n = $left < 65536 ? $left : 65536; my $b = take($n); $digest->add(substr $b, 0, $data < $n ? $data : $n); $left -= $n; $data -= $n; $data = 0 if $data < 0 }
  my @f = (show($name), "type=$type", sprintf('mode=%04o', number(substr $h, 100, 8)), 'uid=' . ($pax{uid} // number(substr $h, 108, 8)),
    'gid=' . ($pax{gid} // number(substr $h, 116, 8)), 'mtime=' . ($pax{mtime} // number(substr $h, 136, 12)));
  push @f, "size=$size", 'sha256=' . $digest->hexdigest if $type eq '0' || $type eq '7';
  push @f, 'link=' . show($pax{linkpath} // text(substr $h, 157, 100)) if $type =~ /[12]/;
  push @f, 'device=' . number(substr $h, 329, 8) . ',' . number(substr $h, 337, 8) if $type =~ /[34]/;
  push @f, map { show($_) . '=' . show($pax{$_}) } grep { /^SCHILY\.(xattr|acl)\./ } sort keys %pax;
  print join(' ', @f), "\n"; %pax = ();
}
1 while read STDIN, my $rest, 65536;
P

# The same for one large file; hashes what is not zero, together with its place, block by block.
cat >"$scratch/large.pl" <<'P'
use strict; use warnings; use Digest::SHA;
my ($file) = @ARGV; open(my $f, '<:raw', $file) or die "$file: $!\n";
my $size = -s $f; my $digest = Digest::SHA->new(256); my $zeros = "\0" x 4096;
for (my $at = 0; $at < $size;) {
  my $start = sysseek($f, $at, 3); last unless defined $start; $start = 0 if $start eq '0 but true'; $start -= $start % 4096;
  my $end = sysseek($f, $start > $at ? $start : $at, 4); die "$file: $!\n" unless defined $end;
  sysseek($f, $start, 0);
  for (my $p = $start; $p < $end; $p += 4096) { my $r = sysread($f, my $b, 4096); die "$file: $!\n" unless $r; next if $b eq substr $zeros, 0, $r; $digest->add("$p:"); $digest->add($b) }
  $at = $end + (-$end % 4096);
}
print $digest->hexdigest;
P

# list <tree> <file to write to>
list() {
  cd "$1"
  local large=(-type f -size +131072)
  find . ! \( "${large[@]}" \) ! -type s -print0 >"$2.all"
  if ((root)); then mv "$2.all" "$2.some"; else grep -zvxF . "$2.all" >"$2.some" || true; fi
  sort -z "$2.some" >"$2.names"
  tar --create --format=pax --numeric-owner --acls --xattrs --xattrs-include='*' --pax-option=delete=atime,delete=ctime \
    --file=- --no-recursion --null --verbatim-files-from --files-from="$2.names" 2>"$2.stderr" |
    perl "$scratch/members.pl" >"$2" || { cat "$2.stderr" >&2; exit 2; }
  [[ ! -s $2.stderr ]] || { cat "$2.stderr" >&2; exit 2; }
  local name
  while IFS= read -r -d '' name; do
    {
      printf '%q ' "$name"
      stat -c 'mode=%a uid=%u gid=%g mtime=%.9Y size=%s links=%h' -- "$name"
      [[ $(stat -c %h -- "$name") == 1 ]] || find . -samefile "$name" -print0 | sort -z | head -zn 1 | tr '\n\0' ' \n'
      getfattr -h -d -m - -e hex --absolute-names -- "$name" | grep -v '^# file' || true
      printf 'data '
      perl "$scratch/large.pl" "$name"
    } | tr '\n' ' '
    echo
  done < <(find . "${large[@]}" -print0 | sort -z) >>"$2"
}

a=$(realpath "$1") b=$(realpath "$2")
(list "$a" "$scratch/a") & first=$!
(list "$b" "$scratch/b") & second=$!
wait "$first" || { wait "$second" || true; echo "compare-trees.sh: cannot read $1" >&2; exit 2; }
wait "$second" || { echo "compare-trees.sh: cannot read $2" >&2; exit 2; }
diff "$scratch/a" "$scratch/b"
