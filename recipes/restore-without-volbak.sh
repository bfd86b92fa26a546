#!/bin/sh
# Restores one volume of a snapshot without volbak: with sh, jq, zstd, GNU tar, and GNU's dd, sha256sum and sort; of an
# encrypted repository with age, too.
# docs/format.md, "Restoring by hand", says what it does, step by step.
set -eu
LC_ALL=C
export LC_ALL

usage() {
  cat <<'USAGE'
usage: restore-without-volbak.sh [--no-verify] [--identity <file>] <repository> <snapshot> <volume> <directory>

Restores a volume of a snapshot into an empty directory, for example a new volume's. Run it as root: owners,
devices and attributes need that.

  <repository>  a local directory; copy one from S3 or SFTP to a disk first (only `volbak.json`, `snapshots/`,
                `segments/` and, of an encrypted one, `keys/` are needed)
  <snapshot>    its id, like 20261120T203000Z-4f9c2a, or the beginning of it
  <volume>      its name
  <directory>   empty, or not there yet
  --identity    of an encrypted repository: file with an age identity (AGE_IDENTITY), either one that the
                repository was encrypted to, or the repository's own, as `age -d keys/<name>.age` gives it
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

verify=1 identity=${AGE_IDENTITY:-}
while [ $# -gt 0 ]; do
  case $1 in
    --no-verify) verify=0 ;;
    --identity)
      [ $# -gt 1 ] || {
        usage >&2
        exit 2
      }
      identity=$2
      shift
      ;;
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
encryption=$(jq -r '.encryption | if . == null then "" else .scheme end' <"$repository/volbak.json")
suffix=
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

# --- encryption: every object is an age file to the repository's own identity ---
if [ -n "$encryption" ]; then
  [ "$encryption" = age ] || fail "the repository in $1 is encrypted in a way that this script does not know"
  command -v age >/dev/null 2>&1 || fail 'not installed: age (the repository is encrypted)'
  [ -n "$identity" ] || fail "the repository in $1 is encrypted: name an age identity with --identity. Where only a
passphrase opens it: age -d $repository/keys/<name>.age >repository.key, and then --identity repository.key"
  [ -f "$identity" ] || fail "no such file: $identity"
  suffix=.age
  # One that opens a key in keys/, else the repository's own.
  for found in "$repository"/keys/*.age; do
    if age -d -i "$identity" "$found" >"$work/key" 2>/dev/null; then break; fi
    : >"$work/key"
  done
  [ -s "$work/key" ] || cat "$identity" >"$work/key"
fi

# Prints an object of the repository, given without .age.
object() {
  if [ -z "$suffix" ]; then cat "$1"; else age -d -i "$work/key" "$1.age"; fi
}

# --- the snapshot's manifest ---
set -- "$repository"/snapshots/*/*/*/"$snapshot"*.json.zst$suffix
if [ $# -gt 1 ] || [ ! -f "$1" ]; then
  if [ $# -gt 1 ]; then
    say "The id '$snapshot' is not unique:"
  else
    say "No snapshot's id begins with '$snapshot'. There are:"
    set -- "$repository"/snapshots/*/*/*/*.json.zst$suffix
  fi
  for found in "$@"; do
    [ ! -f "$found" ] || say "  $(printf %s "${found#"$repository"/snapshots/}" | sed 's|\(.*\)/\(.*\)\.json\.zst.*$|\2  \1|')"
  done
  fail "no such snapshot: $snapshot"
fi
manifest=${1%.age}
id=${manifest##*/}
id=${id%.json.zst}
object "$manifest" >"$work/stored" || fail "the manifest of snapshot $id cannot be read${suffix:+: wrong identity, or damaged}"
zstd -dcq <"$work/stored" >"$work/manifest" || fail "the manifest of snapshot $id is damaged"
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

# Sets `file` to a file with the plain bytes of a segment. Of an encrypted one the last is kept, 32 MiB at the most.
opened=
segment_file() {
  object=$repository/segments/${1%"${1#??}"}/$1.zst
  file=$object
  [ -n "$suffix" ] || return 0
  file=$work/segment
  [ "$opened" != "$1" ] || return 0
  if [ ! -f "$object.age" ]; then
    say "a segment is missing: $object.age"
    return 1
  fi
  if ! object "$object" >"$file"; then
    say "a segment is damaged: $object.age"
    return 1
  fi
  opened=$1
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
    segment_file "$segment" || fail 'nothing was restored'
    if [ "$segment" != "$last" ]; then
      [ -f "$file" ] || fail "a segment is missing: $file"
      size=$(wc -c <"$file")
      if [ $verify = 1 ] && ! grep -qx "$segment" "$work/checked"; then
        [ "$(sha256sum <"$file" | cut -d ' ' -f 1)" = "$segment" ] || fail "a segment is damaged: $object$suffix"
        echo "$segment" >>"$work/checked"
      fi
      last=$segment
    fi
    [ $((offset + length)) -le $((size)) ] || fail "a segment is cut short: $object$suffix"
  done <"$work/sorted"
}

# Prints the stored frames of the ranges on standard input.
pieces() {
  while read -r segment offset length; do
    segment_file "$segment" || return 1
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
