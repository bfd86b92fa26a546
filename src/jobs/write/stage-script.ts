/** What is restored over old content is first extracted whole beside it, in this directory of the volume's root. */
const STAGE_PREFIX = '.volbak-';

/** A stage's directory: the prefix and 16 hex digits. Nothing else is ever taken for one. */
export const STAGE_NAME = /^\.volbak-[0-9a-f]{16}$/;

/** The directory's name for an id of 16 hex digits. */
export function stageName(id: string): string {
  return `${STAGE_PREFIX}${id}`;
}

/** Exit codes: a directory would have to give way to a file; the name for the old content is taken. */
export const CONFLICT = 95;
export const KEEP_TAKEN = 94;

/**
 * Makes the stage $1 in each of the roots that follow; $2 says whose it is. `before` keeps the root's own times: making
 * and removing the directory changes them.
 */
export const PREPARE_SCRIPT = `
stage=$1 owner=$2; shift 2
for root do
  cd "$root" && touch -r . /tmp/before && mkdir -m 700 "$stage" && printf '%s\\n' "$owner" >"$stage/owner" &&
    mkdir "$stage/new" && touch -r /tmp/before "$stage/before" || exit 1
done
`;

/** Prints owners of the stage $2 in the root $1. */
export const OWNER_SCRIPT = 'cat "$1/$2/owner" 2>/dev/null; :';

/**
 * Moves each of $3… into the directory $1. What stands there already, because a program wrote meanwhile, gives way into
 * the directory $2: nothing is left behind and nothing overwritten.
 */
const MOVE = `
to=$1 aside=$2; shift 2
for f do
  name=\${f##*/}
  if [ -e "$to/$name" ] || [ -L "$to/$name" ]; then
    mkdir -p "$aside" || exit 1
    i=0; while [ -e "$aside/$i" ] || [ -L "$aside/$i" ]; do i=$((i + 1)); done
    mv -T -- "$to/$name" "$aside/$i" || exit 1
  fi
  mv -T -- "$f" "$to/$name" || exit 1
done`;

/** Of an overlay: directories must not have to give way to files; what stands where a directory shall be goes. */
const NO_DIRECTORY = `
for f do if [ -d "../../$f" ] && [ ! -L "../../$f" ]; then printf "%s\\n" "$f" >&2; exit 1; fi; done`;
const MAKE_WAY = `
for d do if [ -L "../../$d" ] || { [ -e "../../$d" ] && [ ! -d "../../$d" ]; }; then rm -f "../../$d" || exit 1; fi; done`;

/** Attributes of the headers that tell whether a root became what it should be. */
const ROOT_TAR =
  "tar --create --format=pax --pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime --xattrs '--xattrs-include=*' " +
  '--xattrs-exclude=security.selinux --xattrs-exclude=security.ima --xattrs-exclude=security.evm --acls --numeric-owner --no-recursion';

/**
 * The journal of a stage is in it: the file \`swap\` (how, and under which name the old content is kept) is the point of
 * no return. Without it all is taken back; with it each step can be repeated until the stage is gone, by whoever comes
 * next. \`moved\`: all old content is in \`old\`, so that what lies in the root is new. \`done\`: only old content is left to
 * be removed. Nothing is removed before what replaces it is in its place.
 *
 * $1: \`replace\` or \`overlay\` begins (\`check-\` before it: only looks whether it may), \`settle\` goes on where an earlier run broke off; $2: name for the old content, or
 * empty; $3: the stage; then the roots of all volumes of the run. If one of them has passed the point of no return, all
 * go on. \`settle\` prints \`forward\` or \`back\`; the others print a tar of two members for each root: as it should be, as
 * it is.
 */
export const SWAP_SCRIPT = `
how=$1 keep=$2 stage=$3; shift 3
check() {
  for root do
    cd "$root" || return 1
    if [ -n "$keep" ] && { [ -e "$stage/new/$keep" ] || [ -L "$stage/new/$keep" ]; }; then return ${KEEP_TAKEN}; fi
    if [ "$how" = overlay ]; then
      cd "$stage/new" || return 1
      find . -mindepth 1 ! -type d -exec sh -c '${NO_DIRECTORY}' sh {} + || return ${CONFLICT}
      cd "$root" || return 1
    fi
  done
}
begin() {
  check "$@" || return
  for root do
    cd "$root" && touch -r "$stage/new" "$stage/times" && sync -f . || return 1
  done
  for root do
    cd "$root" && printf '%s\\n%s\\n' "$how" "$keep" >"$stage/swap.tmp" && mv -T "$stage/swap.tmp" "$stage/swap" &&
      sync -f . || return 1
  done
}
look() {
  how=discard keep=
  for root do
    [ -e "$root/$stage/swap" ] || continue
    { IFS= read -r how && IFS= read -r keep; } <"$root/$stage/swap" || return 1
    case $how in replace|overlay) ;; *) return 1 ;; esac
    case $keep in */*|.|..) return 1 ;; esac
    break
  done
  [ "$how" = discard ] || for root do
    [ -d "$root/$stage/new" ] && [ ! -e "$root/$stage/swap" ] && [ ! -e "$root/$stage/done" ] || continue
    cd "$root" && touch -r "$stage/new" "$stage/times" && printf '%s\\n%s\\n' "$how" "$keep" >"$stage/swap.tmp" &&
      mv -T "$stage/swap.tmp" "$stage/swap" || return 1
  done
}
own_attributes() {
  touch -r "$stage/times" "$stage/new" || return 1
  if command -v getfattr >/dev/null && command -v setfattr >/dev/null; then
    getfattr -m '^user\\.' . 2>/dev/null | while IFS= read -r name; do
      case $name in user.*) getfattr -n "$name" "$stage/new" >/dev/null 2>&1 || setfattr -x "$name" . || exit 1 ;; esac
    done || return 1
  fi
  cp -a --preserve=xattr --attributes-only -T "$stage/new" .
}
replace() {
  [ ! -e "$stage/done" ] || return 0
  if [ ! -e "$stage/moved" ]; then
    mkdir -p "$stage/old" || return 1
    find . -mindepth 1 -maxdepth 1 ! -name "$stage" ! -name lost+found -exec mv -n -t "$stage/old" -- {} + || :
    find . -mindepth 1 -maxdepth 1 ! -name "$stage" ! -name lost+found -exec sh -c '${MOVE}' sh "$stage/old" "$stage/late" {} + || return 1
    [ -z "$keep" ] || { chmod --reference=. "$stage/old" && chown --reference=. "$stage/old" && touch -r "$stage/before" "$stage/old"; } || return 1
    : >"$stage/moved" && sync -f . || return 1
  fi
  find "$stage/new" -mindepth 1 -maxdepth 1 ! -name lost+found -exec mv -n -t . -- {} + || :
  find "$stage/new" -mindepth 1 -maxdepth 1 ! -name lost+found -exec sh -c '${MOVE}' sh . "$stage/late" {} + || return 1
  own_attributes || return 1
}
overlay() {
  [ ! -e "$stage/done" ] || return 0
  cd "$stage/new" && find . -mindepth 1 -type d -exec sh -c '${MAKE_WAY}' sh {} + || return 1
  cd "$root" && touch -r "$stage/times" "$stage/new" && cp -a -l --preserve=xattr --remove-destination -T "$stage/new" .
}
finish() {
  : >"$stage/done" && sync -f . || return 1
  if [ -n "$keep" ] && [ -d "$stage/old" ]; then
    if [ -e "$keep" ] || [ -L "$keep" ]; then mkdir -p "$stage/late" && mv -T -- "$keep" "$stage/late/taken" || return 1; fi
    if [ -d "$stage/late" ]; then mv -T "$stage/late" "$stage/old/.written-meanwhile" && touch -r "$stage/before" "$stage/old" || return 1; fi
    mv -T -- "$stage/old" "./$keep" || return 1
  fi
  rm -rf "$stage/old" "$stage/late" "$stage/new" || return 1
  [ ! -e "$stage/times" ] || mv -T "$stage/times" "$stage/before" || return 1
  remove
}
# The journal goes first: a stage that is removed by half must not look like one that goes on.
remove() { touch -r "$stage/before" /tmp/before && rm -f "$stage/swap" && rm -rf "$stage" && touch -r /tmp/before .; }
discard() {
  [ ! -d "$stage/old" ] || return 1
  rm -rf "$stage/new" || return 1
  if [ -e "$stage/before" ]; then remove; else rm -rf "$stage"; fi
}
each() {
  what=$1; shift
  for root do
    cd "$root" || return 1
    [ -d "$stage" ] || continue
    if [ -e "$stage/swap" ]; then $what; else discard; fi || return 1
  done
}
case $how in check-*) how=\${how#check-}; check "$@"; exit ;; esac
if [ "$how" = settle ]; then
  look "$@" || exit 1
  if [ "$how" = discard ]; then each discard "$@" && echo back; exit; fi
  each $how "$@" && each finish "$@" && echo forward
else
  begin "$@" || exit
  each $how "$@" || exit 1
  n=$#
  while [ "$n" -gt 0 ]; do
    set -- "$@" -C "$1/$stage/new" . -C "$1" .
    shift; n=$((n - 1))
  done
  ${ROOT_TAR} "$@" || exit 1
  set -- "$@" end
  while [ "$1" != end ]; do set -- "$@" "$5"; shift 6; done
  shift
  each finish "$@"
fi
`;

/** Empties the root $1 of a volume that was empty before. */
export const EMPTY_SCRIPT = 'find "$1" -mindepth 1 -maxdepth 1 ! -name lost+found -exec rm -rf -- {} +';
