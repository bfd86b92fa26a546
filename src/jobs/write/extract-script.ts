import { NO_DIRECTORY, XATTRS } from '../read/scripts.ts';

/** How an archive reaches the helper, and what is known of it. */
export interface ArchiveTraits {
  /** It travels through gzip. */
  compressed?: boolean;
  /** What is in a directory follows it at once, as in every snapshot: directories get their times as soon as tar leaves them. */
  ordered?: boolean;
}

/**
 * Writes to the disk what tar has written so far, once a second, so that the end has little left to wait for: an engine
 * does not end a container before all is on its disk. Not every `sync` knows `-f`; asking for /proc costs nothing.
 */
const SYNC_MEANWHILE = `
if sync -f /proc 2>/dev/null; then
  while sleep 1; do sync -f "$@" || : >/tmp/unsynced; done >/dev/null 2>&1 &
  trap 'kill $! 2>/dev/null' EXIT
fi
`;

/** Only what is on the disk is restored: file systems report a failing disk to whoever syncs, not to who writes. */
const SYNC_AT_LAST = `
[ -z "$!" ] || { sync -f "$@" && [ ! -e /tmp/unsynced ]; } || { echo 'not all could be written to the disk' >&2; exit 1; }
`;

/**
 * Extracts the archive from $2 (the lane; empty: standard input) into the directory $1, and sees to it that the file systems
 * of $3… have it on their disks. A lane cannot be compressed.
 */
export function extractScript({ compressed = false, ordered = false }: ArchiveTraits): string {
  const tar =
    `tar --extract --preserve-permissions --same-owner --numeric-owner ${XATTRS} ` +
    `${ordered ? '' : '--delay-directory-restore '}--warning=no-timestamp --warning=no-unknown-keyword ` +
    '--quoting-style=escape --blocking-factor=128 --file=-';
  const extract = compressed
    ? `{ gzip -d -c; echo $? >/tmp/gzip; } | ${tar} || exit\n(exit "$(cat /tmp/gzip)") || exit\n`
    : `if [ -n "$lane" ]; then ${tar} <"$lane"; else ${tar}; fi || exit\n`;
  return `cd "$1" || exit ${NO_DIRECTORY}\nlane=$2; shift 2${SYNC_MEANWHILE}${extract}${SYNC_AT_LAST}`;
}
