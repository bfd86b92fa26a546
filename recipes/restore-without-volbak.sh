#!/bin/sh
# Restores one volume of a snapshot without volbak: with sh, jq, zstd, GNU tar, and GNU's dd, sha256sum and sort.
# docs/format.md, "Restoring by hand", says what it does, step by step.
set -eu
LC_ALL=C
export LC_ALL

usage() {
  cat <<'USAGE'
usage: restore-without-volbak.sh [--no-verify] <repository> <snapshot> <volume> <directory>

Restores a volume of a snapshot into an empty directory, for example a new volume's. Run it as root: owners,
devices and attributes need that.

  <repository>  a local directory; copy one from S3 or SFTP to a disk first (only `volbak.json`, `snapshots/`
                and `segments/` are needed)
  <snapshot>    its id, like 20261120T203000Z-4f9c2a, or the beginning of it
  <volume>      its name
  <directory>   empty, or not there yet
  --no-verify   do not check the SHA-256 of the segments first (reads everything once instead of twice)
  -h            this help

Exit codes: 0 restored; 1 something is missing or damaged; 2 wrong usage.
USAGE
}

say() { printf '%s\n' "$*" >&2; }
fail() {
  say "restore-without-volbak.sh: $*"
  exit 1
}

verify=1
while [ $# -gt 0 ]; do
  case $1 in
    --no-verify) verify=0 ;;
    -h | --help)
      usage
      exit 0
      ;;
    --)
      shift
      break
      ;;
    -*)
      usage >&2
      exit 2
      ;;
    *) break ;;
  esac
  shift
done
if [ $# -ne 4 ]; then
  usage >&2
  exit 2
fi
snapshot=$2 volume=$3
# Neither may look like an option to the tools below.
case $1 in /*) repository=$1 ;; *) repository=./$1 ;; esac
case $4 in /*) target=$4 ;; *) target=./$4 ;; esac

missing=
for tool in jq zstd tar dd sha256sum cut sort wc tr sed grep mktemp; do
  command -v "$tool" >/dev/null 2>&1 || missing="$missing $tool"
done
[ -z "$missing" ] || fail "not installed:$missing"
tar --version 2>/dev/null | grep -q 'GNU tar' || fail 'tar must be GNU tar'

# --- the repository ---
[ -d "$repository" ] || fail "no such directory: $1 (a repository elsewhere must be copied to a disk first)"
[ -f "$repository/volbak.json" ] || fail "no volbak repository in $1: it holds no volbak.json"
format=$(jq -r .format <"$repository/volbak.json") || fail "volbak.json in $1 is damaged"
[ "$format" = 1 ] || fail "the repository in $1 has format $format; this script knows format 1"
encrypted="the repository in $1 is encrypted: its objects end in .age. Decrypt a copy of it first, each object
with age -d and the repository's identity, under the same name without .age; then run this on the copy."
encryption=$(jq -r '.encryption // empty' <"$repository/volbak.json")
set -- "$repository"/snapshots/*/*/*/"$snapshot"*.json.zst
if [ ! -f "$1" ]; then
  [ -z "$encryption" ] || fail "$encrypted"
  for found in "$repository"/snapshots/*/*/*/*.json.zst.age; do
    [ ! -f "$found" ] || fail "$encrypted"
  done
fi

# --- the snapshot's manifest ---
if [ $# -gt 1 ] || [ ! -f "$1" ]; then
  if [ $# -gt 1 ]; then
    say "The id '$snapshot' is not unique:"
  else
    say "No snapshot's id begins with '$snapshot'. There are:"
    set -- "$repository"/snapshots/*/*/*/*.json.zst
  fi
  for found in "$@"; do
    [ ! -f "$found" ] || say "  $(printf %s "${found#"$repository"/snapshots/}" | sed 's|\(.*\)/\(.*\)\.json\.zst$|\2  \1|')"
  done
  fail "no such snapshot: $snapshot"
fi
manifest=$1
id=${manifest##*/}
id=${id%.json.zst}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
zstd -dcq <"$manifest" >"$work/manifest" || fail "the manifest of snapshot $id is damaged"
[ "$(jq -r '"\(.format) \(.id)"' <"$work/manifest")" = "1 $id" ] || fail "the manifest of snapshot $id is damaged"

# --- the volume in it ---
jq --arg volume "$volume" '.volumes[] | select(.name == $volume)' <"$work/manifest" >"$work/volume"
if [ ! -s "$work/volume" ]; then
  say "Snapshot $id holds these volumes:"
  jq -r '.volumes[] | "  \(.name)"' <"$work/manifest" >&2
  fail "no such volume in the snapshot: $volume"
fi

if [ -e "$target" ]; then
  [ -d "$target" ] || fail "not a directory: $target"
  [ -z "$(ls -A "$target")" ] || fail "the directory is not empty: $target"
fi

# --- frames ---

# Reads frames as JSON arrays; prints "<segment> <offset> <length>" with frames that are neighbours as one.
ranges() {
  jq -nr '
    foreach ((inputs | {segment: .[0], offset: .[1], length: .[2]}), null) as $frame ({};
      if $frame != null and .held != null and .held.segment == $frame.segment
          and .held.offset + .held.length == $frame.offset
      then .held.length += $frame.length | .out = null
      else .out = .held | .held = $frame end;
      .out // empty | "\(.segment) \(.offset) \(.length)")'
}

segment_file() {
  file=$repository/segments/${1%"${1#??}"}/$1.zst
}

# Checks that each segment that the ranges in a file need is whole; once each.
: >"$work/checked"
check() {
  last=
  sort -u "$1" >"$work/sorted"
  while read -r segment offset length; do
    case $segment$offset$length in
      *[!0-9a-f]*) fail 'the snapshot names a frame that cannot be: it is damaged' ;;
    esac
    segment_file "$segment"
    if [ "$segment" != "$last" ]; then
      [ -f "$file" ] || fail "a segment is missing: $file"
      size=$(wc -c <"$file")
      if [ $verify = 1 ] && ! grep -qx "$segment" "$work/checked"; then
        [ "$(sha256sum <"$file" | cut -d ' ' -f 1)" = "$segment" ] || fail "a segment is damaged: $file"
        echo "$segment" >>"$work/checked"
      fi
      last=$segment
    fi
    [ $((offset + length)) -le $((size)) ] || fail "a segment is cut short: $file"
  done <"$work/sorted"
}

# Prints the stored frames of the ranges on standard input.
pieces() {
  while read -r segment offset length; do
    segment_file "$segment"
    dd if="$file" bs=1M iflag=skip_bytes,count_bytes skip="$offset" count="$length" status=none || return 1
  done
}

say "Snapshot $id, volume $volume: $(jq -r '"\(.entries) entries, \(.tarBytes) bytes of tar"' <"$work/volume")"
jq -r --slurpfile volume "$work/volume" '
  select(.status != "complete") | "The snapshot is \(.status):",
  (.warnings[] | select((.volume // $volume[0].name) == $volume[0].name) |
    "  \(.message)\(if .path then ": \(.path)" else "" end)")' <"$work/manifest" >&2

# A pipe's status is that of its last command: the others report through descriptor 3.
jq -c '.index[]' <"$work/volume" | ranges >"$work/index"
check "$work/index"
failed=$(
  {
    { pieces <"$work/index" || echo 'reading' >&3; } |
      { zstd -dcq || echo 'zstd' >&3; } |
      { jq -c '.frame // empty' || echo 'jq' >&3; } |
      { ranges >"$work/tar" || echo 'jq' >&3; }
  } 3>&1
)
[ -z "$failed" ] || fail "the index of the volume is damaged ($failed)"
[ -s "$work/tar" ] || fail 'the index of the volume is damaged (it names no frames)'
[ $verify = 0 ] || say 'Checking segments ...'
check "$work/tar"

say "Restoring to $target ..."
mkdir -p "$target"
failed=$(
  {
    { pieces <"$work/tar" || echo 'reading' >&3; } |
      { zstd -dcq || echo 'zstd' >&3; } |
      { tar -xp --numeric-owner --xattrs '--xattrs-include=*' --acls --delay-directory-restore \
        --warning=no-timestamp -C "$target" -f - >&2 || echo 'tar' >&3; }
  } 3>&1
)
[ -z "$failed" ] || fail "not all could be restored (failed: $(printf '%s' "$failed" | tr '\n' ' ')): what lies in $target is incomplete"
say "Done. To prove it, run recipes/digest.sh on the directory; it must print"
say "$(jq -r .digest <"$work/volume")"
