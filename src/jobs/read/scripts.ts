import { PROBE_SCRIPT } from '../../engine/lanes/pipe.ts';
import { FIND_FORMAT, PATH_FIELD } from '../../tar/listing.ts';

/** Exit code of our scripts where the volume's directory is not there or is no directory. */
export const NO_DIRECTORY = 96;

/** Swaps '/' and \001, so that bytewise `sort` puts '/' lowest. */
const SWAP = "tr '/\\001' '\\001/'";

/**
 * Lists the directory $1 in the order of members, NUL after each record. First come records about the helper
 * ("FS <type>", "TAR <version>"), then "FIND <status>" (its key is empty, so it sorts first), the files, and at
 * the end "SORT <status>": a listing without both is cut off.
 */
export const LIST_SCRIPT = `
${PROBE_SCRIPT}
[ -d "$1" ] || exit ${NO_DIRECTORY}
cd "$1" || exit ${NO_DIRECTORY}
find . -maxdepth 0 -printf 'FS %F\\0' || exit 97
printf 'TAR %s\\0' "$(tar --version | head -n 1)" || exit 98
sync -f . 2>/dev/null
{ find . -printf '${FIND_FORMAT}'; printf 'FIND %s\\0' $?; } | ${SWAP} |
  { sort -z -t ' ' -k ${PATH_FIELD}; printf 'SORT %s\\0' $?; } | ${SWAP}
`;

const XATTRS =
  "--xattrs '--xattrs-include=*' --xattrs-exclude=security.selinux --xattrs-exclude=security.ima --xattrs-exclude=security.evm --acls";

/**
 * Archives the members named on standard input from the directory $1 to $2 (the lane; empty: standard output).
 * `exec`: tar is process 1, which GNU tar writes into the names of sparse members.
 */
export function tarScript(sparse: boolean): string {
  const tar =
    'exec tar --create --format=pax --pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime ' +
    `${XATTRS} --numeric-owner ${sparse ? '--sparse ' : ''}--blocking-factor=128 --quoting-style=escape ` +
    '--no-recursion --null --verbatim-files-from --files-from=- --file=-';
  return `cd "$1" || exit ${NO_DIRECTORY}\nif [ -n "$2" ]; then ${tar} >"$2"; else ${tar}; fi\n`;
}

/** Extracts the archive from $2 (the lane; empty: standard input) into the directory $1. */
export const EXTRACT_SCRIPT = (() => {
  const tar =
    `exec tar --extract --preserve-permissions --same-owner --numeric-owner ${XATTRS} ` +
    '--delay-directory-restore --warning=no-timestamp --warning=no-unknown-keyword --quoting-style=escape --blocking-factor=128 --file=-';
  return `cd "$1" || exit ${NO_DIRECTORY}\nif [ -n "$2" ]; then ${tar} <"$2"; else ${tar}; fi\n`;
})();

const SPARSE_SAFE = new Set(['ext2', 'ext3', 'ext2/ext3', 'ext4', 'xfs', 'btrfs', 'tmpfs']);

/** Whether tar may ask this file system for holes: elsewhere files with data were archived as zeros. */
export function holesAreTrusted(fsType: string): boolean {
  return SPARSE_SAFE.has(fsType);
}
