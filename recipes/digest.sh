#!/usr/bin/env bash
# The digest of a volume's content (docs/format.md, "Digest"), computed without volbak:
# with bash, find, sort, tr, stat, getfattr and sha256sum alone. Give it a restored directory and compare
# with the volume's `digest` in the manifest.
set -euo pipefail
export LC_ALL=C

usage() {
  cat <<'USAGE'
usage: digest.sh [--lines] <directory>

Prints the SHA-256 digest of everything in the directory: names, types, modes, owners, times, sizes, links,
devices, extended attributes, contents. Run it as root, while nothing writes there.

  --lines   print what is hashed instead, one member a line: NUL as \0, a backslash as \\,
            other bytes that cannot be printed as \x and two hex digits; to find what differs
  -h        this help
USAGE
}

fail() {
  printf 'digest.sh: %s\n' "$1" >&2
  exit "${2:-1}"
}

lines=0
while (($# > 0)); do
  case $1 in
    --lines) lines=1 ;;
    -h | --help) usage && exit 0 ;;
    --) shift && break ;;
    -*) usage >&2 && exit 2 ;;
    *) break ;;
  esac
  shift
done
(($# == 1)) || { usage >&2 && exit 2; }
[[ -d $1 ]] || fail "not a directory: $1"
((BASH_VERSINFO[0] > 4 || (BASH_VERSINFO[0] == 4 && BASH_VERSINFO[1] >= 4))) || fail 'needs bash 4.4 or later'
for tool in find sort tr xargs stat getfattr sha256sum mktemp; do
  command -v "$tool" >/dev/null || fail "$tool is missing (getfattr is in the package attr)"
done
cd -- "$1"
here=$(pwd -P && echo .)
here=${here%$'\n.'}

# Scratch files, not pipes: bash reads a pipe byte by byte. They must not lie in what is looked at.
scratch=$(cd -- "${TMPDIR:-/tmp}" && pwd -P)
[[ $scratch/ != "${here%/}"/* ]] || fail "the directory holds $scratch: set TMPDIR to a place outside of it"
scratch=$(mktemp -d "$scratch/digest.XXXXXX")
trap 'rm -rf -- "$scratch"' EXIT

# --- the members in order: bytewise with '/' lowest; sockets are left out ---
# A path holds no "//", so that may end it: it sorts before anything that goes on.
find . ! -type s -printf '%y %m %U %G %T@ %s %D:%i %n %p//%l\0' |
  tr '/\001' '\001/' | sort -z -t ' ' -k 9 | tr '/\001' '\001/' >"$scratch/members"
mapfile -t -d '' members <"$scratch/members"
rm "$scratch/members"

paths=() links=() heads=() sizes=()
regular=() devices=() carriers=()
declare -A first=()
set -f # the fields are split into words below
for member in "${members[@]}"; do
  fields=${member%% .*}
  path=${member#"$fields "}
  link=${path#*//}
  path=${path%%//*}
  # shellcheck disable=SC2206
  fields=($fields)
  type=${fields[0]}
  head='' size='-'
  # tar links files and symbolic links; it takes each name of a FIFO or device for one of its own.
  linked=0
  [[ $type != [fl] || ${fields[7]} == 1 ]] || linked=1
  if ((linked)) && [[ -n ${first[${fields[6]}]+x} ]]; then
    head=hardlink
    link=${first[${fields[6]}]}
  else
    ((!linked)) || first[${fields[6]}]=$path
    case $type in
      f) head=file size=${fields[5]} && regular+=("$path") ;;
      d) head=dir ;;
      l) head=symlink ;;
      p) head=fifo ;;
      c) head=char && devices+=("$path") ;;
      b) head=block && devices+=("$path") ;;
      *) fail "a file of unknown type '$type'" ;;
    esac
    carriers+=("$path")
    # find prints the seconds and nanoseconds of struct timespec: ten digits, nine of them are meant.
    nanos=${fields[4]#*.}000000000
    head+=" ${fields[1]} ${fields[2]} ${fields[3]} ${fields[4]%%.*}.${nanos:0:9}"
  fi
  paths+=("$path") links+=("$link") heads+=("$head") sizes+=("$size")
done
members=()

# run <file> <command…> -- <names…>: the command over all names, its output in the file. Names begin with '.'.
run() {
  local out=$1 command=()
  shift
  while [[ $1 != -- ]]; do command+=("$1") && shift; done
  shift
  if (($# == 0)); then
    : >"$out"
  else
    printf '%s\0' "$@" | xargs -0 "${command[@]}" >"$out"
  fi
}

# --- contents: sha256sum -z escapes no names, and answers in the order of the names ---
run "$scratch/contents" sha256sum -z -- "${regular[@]}"
mapfile -t -d '' contents <"$scratch/contents"
((${#contents[@]} == ${#regular[@]})) || fail 'a file vanished while it was read'

# --- devices: stat has major and minor in hex ---
run "$scratch/devices" stat -c '0x%t 0x%T' -- "${devices[@]}"
mapfile -t numbers <"$scratch/devices"
((${#numbers[@]} == ${#devices[@]})) || fail 'a device vanished while it was looked at'

# --- extended attributes: one line `<name>=0x<hex>` each, in byte order of the names; SHA-256 of these ---
run "$scratch/attributes" getfattr -h -d -m - -e hex --absolute-names -- "${carriers[@]}"

# plain <variable> <text>: undoes getfattr's quoting, a backslash and three octal digits.
plain() {
  if [[ $2 == *\\* ]]; then
    # shellcheck disable=SC2059
    printf -v "$1" "${2//%/%%}"
  else
    printf -v "$1" %s "$2"
  fi
}

declare -A attributes=() hashes=()

# hash_block <lines…>: sets `hash` to the hash of one member's attributes; empty where none of them count.
# The same attributes are hashed once.
hash_block() {
  local key line name value i lines=()
  local -A values=()
  printf -v key '%s\n' "$@"
  if [[ -z ${hashes[$key]+x} ]]; then
    for line in "$@"; do
      plain name "${line%%=*}"
      value=${line#"${line%%=*}"}
      value=${value#=}
      case $name in
        trusted.* | security.selinux | security.ima | security.evm) continue ;;
      esac
      # An empty value is printed as "name", "name=", 'name=""' or "name=0x".
      [[ $value == 0x* ]] || value=0x
      # Byte order: insertion from the end; there are few.
      for ((i = ${#lines[@]}; i > 0; i--)); do
        [[ ${lines[i - 1]} > $name ]] || break
        lines[i]=${lines[i - 1]}
      done
      lines[i]=$name
      values[$name]=$value
    done
    hashes[$key]=
    if ((${#lines[@]} > 0)); then
      line=$(for name in "${lines[@]}"; do printf '%s=%s\n' "$name" "${values[$name]}"; done | sha256sum)
      hashes[$key]=${line%% *}
    fi
  fi
  hash=${hashes[$key]}
}

name='' block=()
while IFS= read -r line || [[ -n $line ]]; do
  case $line in
    '# file: '*) plain name "${line#'# file: '}" ;;
    '')
      ((${#block[@]} == 0)) || hash_block "${block[@]}"
      [[ -z $hash ]] || attributes[$name]=$hash
      name='' block=() hash=
      ;;
    *) block+=("$line") ;;
  esac
done <"$scratch/attributes"
[[ -z $name ]] || fail 'the output of getfattr is cut off'

# --- the digest: `type mode uid gid mtime size device xattrs sha256 path`, NUL, link, NUL for each member ---
records() {
  local i head path c=0 d=0 device content number
  for i in "${!paths[@]}"; do
    head=${heads[i]} path=${paths[i]}
    if [[ $head == hardlink ]]; then
      printf 'hardlink - - - - - - - - %s\0%s\0' "$path" "${links[i]}"
      continue
    fi
    device='-' content='-'
    case $head in
      file*)
        content=${contents[c]:0:64}
        c=$((c + 1))
        ;;
      char* | block*)
        number=${numbers[d]}
        device=$((${number% *})):$((${number#* }))
        d=$((d + 1))
        ;;
    esac
    printf '%s %s %s %s %s %s\0%s\0' \
      "$head" "${sizes[i]}" "$device" "${attributes[$path]:--}" "$content" "$path" "${links[i]}"
  done
}

# readable: every two NUL-ended parts as one line of text.
readable() {
  local parts=() i j text out
  mapfile -t -d '' parts <"$scratch/records"
  for ((i = 0; i < ${#parts[@]}; i += 2)); do
    text=${parts[i]//\\/\\\\}'\0'${parts[i + 1]//\\/\\\\}'\0'
    if [[ $text == *[![:print:]]* ]]; then
      out=
      for ((j = 0; j < ${#text}; j++)); do
        if [[ ${text:j:1} == [[:print:]] ]]; then
          out+=${text:j:1}
        else
          printf -v out '%s\\x%02x' "$out" "$(($(printf '%d' "'${text:j:1}") & 255))"
        fi
      done
      text=$out
    fi
    printf '%s\n' "$text"
  done
}

records >"$scratch/records"
if ((lines)); then
  readable
else
  sum=$(sha256sum <"$scratch/records")
  echo "${sum%% *}"
fi
