/** File systems that take times from this kernel's clock, in steps of a scheduler's tick. */
const LOCAL = new Set([
  'ext2',
  'ext3',
  'ext2/ext3',
  'ext4',
  'xfs',
  'btrfs',
  'zfs',
  'f2fs',
  'overlayfs',
  'reiserfs',
  'jfs',
]);

/** Seconds by which a time must be older than a listing, for a later change to show in it. */
const MARGIN_LOCAL = 2;
/** FAT counts in steps of two seconds, others in one: all times without a fraction. */
const MARGIN_COARSE = 5;
/** Network and FUSE file systems: the times come from another machine's clock. */
const MARGIN_ELSEWHERE = 60;

/** What is known of the times in a listing. */
export interface ListingTimes {
  /** When it began, by the clock of the engine's machine. */
  started: Date;
  fsType: string;
  /** True where some time has a fraction of a second. */
  fineTimes: boolean;
}

/**
 * The second before which a listing's times can be trusted, or undefined where they never can: a file that was written
 * again after it was read, within the same step of the clock, has the time that the listing knows ("racy git", Junio
 * Hamano 2006). Memory file systems are not trusted at all: writes through mmap leave no time there.
 */
export function trustedBefore({ started, fsType, fineTimes }: ListingTimes): number | undefined {
  if (fsType === 'tmpfs' || fsType === 'ramfs') return undefined;
  const margin = LOCAL.has(fsType) ? (fineTimes ? MARGIN_LOCAL : MARGIN_COARSE) : MARGIN_ELSEWHERE;
  return started.getTime() / 1000 - margin;
}

/** Whole seconds of a canonical time, see `Member.mtime`. */
export function secondsOf(time: string): number {
  return Number.parseInt(time, 10);
}
