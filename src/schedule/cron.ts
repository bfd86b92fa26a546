import { createHash } from 'node:crypto';
import { CronTime } from 'cron';
import { IANAZone } from 'luxon';

/** No run is looked for further ahead than the `cron` package does. */
const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const WEEK = 7 * DAY;

/**
 * When something is due: a cron expression of 5 or 6 fields, or @daily and the like, in a time zone. On the days when clocks
 * change it does what Debian's cron does: a fixed time that is skipped comes at the change, one that comes twice counts
 * once; where hour or minute begin with `*`, real time counts, and each moment whose wall clock fits is a run.
 */
export class Schedule {
  readonly #cron: CronTime;
  readonly #zone: IANAZone;
  readonly #follows: boolean;

  /** Raises what is wrong with the expression. */
  constructor(expression: string, zone: string) {
    const text = expression.trim();
    // The package would take the 59th second of "* * * * *" for said; and it wants UTC, as wall clocks are handed to it.
    this.#cron = new CronTime(text, 'UTC');
    this.#zone = IANAZone.create(zone);
    if (!this.#zone.isValid) throw new Error(`${zone} is no time zone`);
    const [minute = '', hour = ''] = text.split(/\s+/).slice(-5);
    this.#follows = /^@(hourly|minutely|secondly)$/i.test(text) || /^\*/.test(minute) || /^\*/.test(hour);
  }

  /** The first run after a moment; undefined where there is none in the years to come. */
  next(after: Date): Date | undefined {
    const at = this.#follows ? this.#nextFollowing(after.getTime()) : this.#nextFixed(after.getTime());
    return at === undefined ? undefined : new Date(at);
  }

  #offset(at: number): number {
    return this.#zone.offset(at) * 60_000;
  }

  /** The next wall clock time that fits, both as if they were UTC. */
  #nextWall(wall: number): number | undefined {
    try {
      return this.#cron.getNextDateFrom(new Date(Math.floor(wall / 1000) * 1000), 'UTC').toMillis();
    } catch {
      return undefined;
    }
  }

  /** Between changes of the clock wall and real time go alike; behind each change it looks anew. */
  #nextFollowing(after: number): number | undefined {
    for (let from = after; ; ) {
      const offset = this.#offset(from);
      // A change may come right after `from`: what lies behind it is another piece.
      const wall = this.#nextWall(from + offset);
      if (wall === undefined) return undefined;
      const at = wall - offset;
      const change = this.#changeBetween(from, at);
      if (change === undefined) return at;
      if (this.#fits(change)) return change;
      from = change;
    }
  }

  /** Whether a moment itself is a run. */
  #fits(at: number): boolean {
    const wall = at + this.#offset(at);
    return this.#nextWall(wall - 1000) === wall;
  }

  #nextFixed(after: number): number | undefined {
    let wall: number | undefined = after + this.#offset(after);
    // What lay in a skipped hour is due at its end, whose wall clock is later than it.
    if (this.#offset(after - DAY) !== this.#offset(after)) wall -= DAY;
    for (;;) {
      wall = this.#nextWall(wall);
      if (wall === undefined) return undefined;
      const at = this.#momentOf(wall);
      if (at > after) return at;
    }
  }

  /** When clocks first show a time; where they skip it, when they do. */
  #momentOf(wall: number): number {
    const before = this.#offset(wall - DAY);
    const later = this.#offset(wall + DAY);
    const shown = [wall - before, wall - later].filter((at) => at + this.#offset(at) === wall);
    if (shown.length > 0) return Math.min(...shown);
    return this.#changeBetween(wall - DAY, wall + DAY) ?? wall - before;
  }

  /** The first moment with another offset than `from` has, up to and with `to`. */
  #changeBetween(from: number, to: number): number | undefined {
    const offset = this.#offset(from);
    for (let low = from; low < to; low += WEEK) {
      const high = Math.min(low + WEEK, to);
      if (this.#offset(high) !== offset) return this.#changeWithin(low, high, offset);
    }
    return undefined;
  }

  #changeWithin(from: number, to: number, offset: number): number {
    let [low, high] = [from, to];
    while (high - low > 1) {
      const middle = Math.floor((low + high) / 2);
      if (this.#offset(middle) === offset) low = middle;
      else high = middle;
    }
    return high;
  }
}

/** What is wrong with a schedule; undefined where it is right. `now` is where its first run is looked for. */
export function scheduleProblem(expression: string, zone: string | undefined, now: Date): string | undefined {
  try {
    const schedule = new Schedule(expression, zone ?? 'UTC');
    return schedule.next(now) ? undefined : 'it never comes';
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return `it must be a schedule, like "0 3 * * *" or @daily: ${reason}`;
  }
}

/** How much later than planned a run starts: below `jitterMs`, and the same each time that it is asked. */
export function jitterOf(job: string, due: Date, jitterMs: number): number {
  if (jitterMs <= 0) return 0;
  const digest = createHash('sha256').update(`${job}\n${due.toISOString()}`).digest();
  return Math.floor((digest.readUInt32BE(0) / 2 ** 32) * jitterMs);
}
