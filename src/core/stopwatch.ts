import { readFileSync } from 'node:fs';

/** A clock that nobody sets: it tells how much time went by, and stands still while the machine sleeps. */
export interface Stopwatch {
  /** Milliseconds since the machine was started. */
  now(): number;
  /** Names the start of the machine that `now` counts from; undefined where that cannot be told. */
  readonly boot: string | undefined;
}

function bootId(): string | undefined {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
  } catch {
    return undefined;
  }
}

/** The machine's monotonic clock. */
export const systemStopwatch: Stopwatch = {
  now: () => Number(process.hrtime.bigint() / 1_000_000n),
  boot: bootId(),
};
