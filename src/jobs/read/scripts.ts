import { PROBE_SCRIPT } from '../../engine/lanes/pipe.ts';
import { FIND_FORMAT, PATH_FIELD } from '../../tar/listing.ts';

/** Exit code of our scripts where the volume's directory is not there or is no directory. */
export const NO_DIRECTORY = 96;

/** Exit code of a helper whose tools cannot list: busybox has no `find -printf`. */
export const NO_LISTING = 97;

/** Swaps '/' and \001, so that bytewise `sort` puts '/' lowest. */
const SWAP = "tr '/\\001' '\\001/'";

/**
 * Lists the directory $1 in the order of members, NUL after each record. First come records about the helper
 * ("FS <type>", "TAR <version>", "NOW <milliseconds>"), then "FIND <status>" (its key is empty, so it sorts first), the
 * files, and "SORT <status>": a listing without both is cut off. At the end "LATE <birth> <path>" for what lies in
 * directories that changed meanwhile: a file that moved while find was on its way may have been in neither place.
 *
 * NOW is taken before `sync`: a write through mmap that sync makes visible has a time after it. A directory's time may
 * lag behind the clock by a tick, 10 ms at the most.
 */
export const LIST_SCRIPT = `
${PROBE_SCRIPT}
[ -d "$1" ] || exit ${NO_DIRECTORY}
cd "$1" || exit ${NO_DIRECTORY}
find . -maxdepth 0 -printf 'FS %F\\0' || exit ${NO_LISTING}
printf 'TAR %s\\0' "$(tar --version | head -n 1)"
: >/tmp/now
now=$(stat -c %.3Y /tmp/now | tr -d .)
printf 'NOW %s\\0' "$now"
begun=$((now - 20))
sync -f .
{
  find . -printf '${FIND_FORMAT}'
  printf 'FIND %s\\0' $?
  exec >/dev/null
  find . -type d -newerct "@$((begun / 1000)).$(printf %03d $((begun % 1000)))" -exec sh -c \\
    'find "$@" -mindepth 1 -maxdepth 1 -exec stat --printf "LATE %.3W %n\\0" {""} +' sh {} + >/tmp/late
} | ${SWAP} | { sort -z -t ' ' -k ${PATH_FIELD}; printf 'SORT %s\\0' $?; } | ${SWAP}
cat /tmp/late
`;

/**
 * The same with tools that only have what POSIX and busybox give: whole seconds, and no names with line breaks, which
 * busybox's stat cannot set apart.
 */
export const LIST_PLAINLY_SCRIPT = `
${PROBE_SCRIPT}
[ -d "$1" ] || exit ${NO_DIRECTORY}
cd "$1" || exit ${NO_DIRECTORY}
set -o pipefail || exit ${NO_LISTING}
printf 'NOW %s000\\0' "$(date +%s)"
sync
odd=$(find . -name '*
*' | head -n 1)
if [ -n "$odd" ]; then echo "a name holds a line break, and this helper image has no GNU find" >&2; exit 1; fi
find . -print0 | xargs -0 stat -c 'PLAIN %f %s %u %g %Y %Z %i %h %n' | ${SWAP} |
  LC_ALL=C sort -t ' ' -k ${PATH_FIELD} | ${SWAP} | tr '\\n' '\\0' || exit ${NO_LISTING}
printf 'FIND 0\\0SORT 0\\0'
`;

/** Attributes that belong to the machine stay out, in both directions. */
export const XATTRS =
  "--xattrs '--xattrs-include=*' --xattrs-exclude=security.selinux --xattrs-exclude=security.ima --xattrs-exclude=security.evm --acls";

function createTar(sparse: boolean): string {
  return (
    'tar --create --format=pax --pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime ' +
    `${XATTRS} --numeric-owner ${sparse ? '--sparse ' : ''}--blocking-factor=128 --quoting-style=escape ` +
    '--no-recursion --null --verbatim-files-from --files-from=- --file=-'
  );
}

/**
 * Archives the members named on standard input from the directory $1 to $2 (the lane; empty: standard output).
 * `exec`: tar is process 1, which GNU tar writes into the names of sparse members.
 */
export function tarScript(sparse: boolean): string {
  const tar = `exec ${createTar(sparse)}`;
  return `cd "$1" || exit ${NO_DIRECTORY}\nif [ -n "$2" ]; then ${tar} >"$2"; else ${tar}; fi\n`;
}

/** Compresses what `tar` writes, and keeps its exit code: a pipe of sh has that of its last program. */
function gzipped(tar: string): string {
  return `{ ${tar}; echo $? >/tmp/tar; } | gzip -1 || exit ${COMPRESSION_FAILED}\nexit "$(cat /tmp/tar)"\n`;
}

/** Exit code where gzip failed, not tar. */
const COMPRESSION_FAILED = 74;

/** As tarScript, to standard output through gzip: for an engine that is far away. */
export function compressedTarScript(sparse: boolean): string {
  return `cd "$1" || exit ${NO_DIRECTORY}\n${gzipped(createTar(sparse))}`;
}

/** The same with a tar that knows none of this: names come as arguments, in as many archives as it takes. */
export const PLAIN_TAR_SCRIPT = (() => {
  const tar = 'exec xargs -0 tar -c -f - --no-recursion';
  return `cd "$1" || exit ${NO_DIRECTORY}\nif [ -n "$2" ]; then ${tar} >"$2"; else ${tar}; fi\n`;
})();

const SPARSE_SAFE = new Set(['ext2', 'ext3', 'ext2/ext3', 'ext4', 'xfs', 'btrfs', 'tmpfs']);

/** Whether tar may ask this file system for holes: elsewhere files with data were archived as zeros. */
export function holesAreTrusted(fsType: string): boolean {
  return SPARSE_SAFE.has(fsType);
}
