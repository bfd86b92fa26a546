import { NO_DIRECTORY, XATTRS } from '../read/scripts.ts';

/** How an archive reaches the helper, and what is known of it. */
export interface ArchiveTraits {
  /** It travels through gzip. */
  compressed?: boolean;
  /** What is in a directory follows it at once, as in every snapshot: directories get their times as soon as tar leaves them. */
  ordered?: boolean;
}

/** Exit code where not all could be brought to the disk; the last line says why. */
export const NOT_ON_DISK = 93;

/**
 * Brings to the disk what tar has written so far, once a second, so that the end has little left to wait for: an engine does not
 * end a container before all is on its disk. Not every `sync` knows `-f`; asking for /proc costs nothing. The file `syncing`
 * is there while one is at work, and stays when it failed. A file system tells of an error once, and of those before our time to
 * whoever asks first: that is what the first call is for.
 */
const SYNC_MEANWHILE = `
tmp=\${VOLBAK_TMP:-/tmp}
if sync -f /proc 2>/dev/null; then
  sync -f "$@" >/dev/null 2>&1
  while sleep 1; do
    : >"$tmp/syncing"
    sync -f "$@" 2>"$tmp/why" || exit
    rm "$tmp/syncing"
  done >/dev/null 2>&1 &
  trap 'kill $! 2>/dev/null' EXIT
fi
`;

/** Only what is on the disk is restored: file systems report a failing disk to whoever syncs, not to who writes. */
const SYNC_AT_LAST = `
if [ -n "$!" ]; then
  sync -f "$@" || exit ${NOT_ON_DISK}
  while [ -e "$tmp/syncing" ] && kill -0 $! 2>/dev/null; do sleep 0.1 || sleep 1; done
  [ ! -e "$tmp/syncing" ] || { cat "$tmp/why" >&2; exit ${NOT_ON_DISK}; }
fi
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
    ? `{ gzip -d -c; echo $? >"$tmp/gzip"; } | ${tar} || exit\n(exit "$(cat "$tmp/gzip")") || exit\n`
    : `if [ -n "$lane" ]; then ${tar} <"$lane"; else ${tar}; fi || exit\n`;
  return `cd "$1" || exit ${NO_DIRECTORY}\nlane=$2; shift 2${SYNC_MEANWHILE}${extract}${SYNC_AT_LAST}`;
}
