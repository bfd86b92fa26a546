import { DateTime } from 'luxon';
import { describe, expect, it } from 'vitest';
import { Schedule } from '../../src/schedule/cron.ts';
import { Scheduler } from '../../src/schedule/scheduler.ts';
import type { Job, Note, Outcome, States } from '../../src/schedule/types.ts';
import { random, seed } from '../support/soak.ts';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

function job(name: string, cron: string | undefined, more: Partial<Job> = {}, zone = 'UTC'): Job {
  return {
    name,
    plan: `${cron} ${zone}`,
    claims: [],
    jitterMs: 0,
    overlap: 'queue',
    missed: 'once',
    retry: { times: 0, delayMs: MINUTE, maxDelayMs: HOUR },
    ...(cron === undefined ? {} : { schedule: new Schedule(cron, zone) }),
    ...more,
  };
}

const GOOD: Outcome = { ok: true, retryable: false };
const BAD: Outcome = { ok: false, retryable: true };

/** A world in which time is what it is told, and each run takes as long as it is told. */
class World {
  now: number;
  scheduler: Scheduler;
  readonly jobs: Job[];
  readonly limit: number;
  runs: { name: string; at: string; due: string; why: string; attempt: number }[] = [];
  /** Starts beside a run that claims the same. */
  together: string[] = [];
  notes: Note[] = [];
  #ends: { name: string; at: number }[] = [];
  takes: (name: string) => number = () => 0;
  outcome: (name: string) => Outcome = () => GOOD;
  most = 0;

  constructor(start: string, jobs: Job[], limit = 100) {
    this.now = Date.parse(start);
    this.jobs = jobs;
    this.limit = limit;
    this.scheduler = new Scheduler(jobs, limit, {}, new Date(this.now));
  }

  /** Lives up to a moment, waking up as the daemon does. */
  until(end: number): this {
    while (true) {
      this.#tick();
      const wake = this.scheduler.nextWake(new Date(this.now))?.getTime() ?? end;
      const next = Math.min(Math.max(wake, this.now + 1), ...this.#ends.map(({ at }) => at), end);
      this.now = next;
      for (const { name } of this.#ends.filter(({ at }) => at <= this.now))
        this.scheduler.finished(name, this.outcome(name), new Date(this.now));
      this.#ends = this.#ends.filter(({ at }) => at > this.now);
      if (next >= end) break;
    }
    this.#tick();
    return this;
  }

  for(ms: number): this {
    return this.until(this.now + ms);
  }

  #tick(): void {
    const { start, notes } = this.scheduler.tick(new Date(this.now));
    this.notes.push(...notes);
    for (const { name, run } of start) {
      const { due, why, attempt } = run;
      this.runs.push({ name, at: new Date(this.now).toISOString(), due, why, attempt });
      const claims = (other: string) => this.jobs.find((one) => one.name === other)?.claims ?? [];
      for (const { name: other } of this.#ends)
        if (other === name || claims(other).some((claim) => claims(name).includes(claim)))
          this.together.push(`${name} beside ${other} at ${new Date(this.now).toISOString()}`);
      this.#ends.push({ name, at: this.now + Math.max(1, this.takes(name)) });
    }
    this.most = Math.max(this.most, this.#ends.length);
  }

  /** kill -9, some time without a daemon, and a new one that has what was on disk. */
  killed(down: number, jobs = this.jobs): this {
    const disk = JSON.parse(JSON.stringify(this.scheduler.states)) as States;
    this.#ends = [];
    this.now += down;
    this.scheduler = new Scheduler(jobs, this.limit, disk, new Date(this.now));
    return this;
  }

  at(name: string): string[] {
    return this.runs.filter((run) => run.name === name).map(({ at }) => at.slice(0, 16));
  }
}

describe('a simulated leap year', () => {
  it('has exactly the expected runs, on both days on which clocks change, in two time zones', () => {
    const jobs = [
      job('berlin', '30 2 * * *', {}, 'Europe/Berlin'),
      job('york', '30 1 * * *', {}, 'America/New_York'),
      job('leap', '0 12 29 2 *'),
      job('weekly', '0 4 * * 0', {}, 'Europe/Berlin'),
      job('drill', undefined, { after: 'weekly' }),
    ];
    const world = new World('2028-01-01T00:00:00Z', jobs).until(Date.parse('2029-01-01T00:00:00Z'));
    const expected = (zone: string, hour: number) =>
      Array.from({ length: 366 }, (_, i) =>
        DateTime.fromObject({ year: 2028 }, { zone }).plus({ days: i }).set({ hour, minute: 30 }),
      ).map((at) => at.toUTC().toISO()?.slice(0, 16));
    const berlin = expected('Europe/Berlin', 2);
    berlin[31 + 29 + 25] = '2028-03-26T01:00'; // 02:30 is skipped: at 03:00
    const tests = world.at('berlin');
    expect(tests).toEqual(berlin);
    expect(tests).toContain('2028-10-29T00:30');
    expect(world.at('york')).toEqual(expected('America/New_York', 1));
    expect(world.at('leap')).toEqual(['2028-02-29T12:00']);
    expect(world.at('weekly')).toHaveLength(53);
    expect(world.at('drill')).toEqual(world.at('weekly'));
    expect(world.runs.every(({ why }) => why === 'schedule' || why === 'after')).toBe(true);
  });
});

describe('clocks that jump', () => {
  const daily = () => new World('2028-05-01T00:00:00Z', [job('a', '0 3 * * *')]);

  it('forwards over a run: it is made up for once', () => {
    const world = daily();
    world.now += 5 * HOUR;
    world.for(3 * DAY - 5 * HOUR);
    expect(world.runs.map(({ at, why }) => `${at.slice(0, 16)} ${why}`)).toEqual([
      '2028-05-01T05:00 missed',
      '2028-05-02T03:00 schedule',
      '2028-05-03T03:00 schedule',
    ]);
  });

  it('back by an hour: no run is repeated', () => {
    const world = daily().for(3 * HOUR + 30 * MINUTE);
    world.now -= HOUR;
    world.for(DAY);
    expect(world.at('a')).toEqual(['2028-05-01T03:00']);
    expect(world.for(HOUR).at('a')).toEqual(['2028-05-01T03:00', '2028-05-02T03:00']);
  });

  it('a year ahead and back again: schedules go on with what the clock shows', () => {
    const world = daily().for(HOUR);
    world.now += 365 * DAY;
    world.for(MINUTE);
    world.now -= 365 * DAY;
    world.for(3 * HOUR);
    expect(world.runs.map(({ at, why }) => `${at.slice(0, 13)} ${why}`)).toEqual([
      '2029-05-01T01 missed',
      '2028-05-01T03 schedule',
    ]);
  });

  it('back while a retry waits: it waits no longer than was said', () => {
    const world = new World('2028-05-01T02:59:00Z', [
      job('a', '0 3 * * *', { retry: { times: 1, delayMs: 10 * MINUTE, maxDelayMs: HOUR } }),
    ]);
    world.outcome = () => BAD;
    world.for(2 * MINUTE);
    world.now -= HOUR;
    world.for(11 * MINUTE);
    expect(world.runs.map(({ attempt }) => attempt)).toEqual([1, 2]);
  });
});

describe('time without a daemon', () => {
  it('a week of missed runs is made up for by one', () => {
    const world = new World('2028-05-01T00:00:00Z', [job('a', '0 3 * * *')])
      .for(DAY)
      .killed(7 * DAY)
      .for(DAY);
    expect(world.runs.map(({ why }) => why)).toEqual(['schedule', 'missed', 'schedule']);
  });

  it('or left out, where that was said', () => {
    const world = new World('2028-05-01T00:00:00Z', [job('a', '0 3 * * *', { missed: 'skip' })])
      .for(DAY)
      .killed(7 * DAY)
      .for(DAY);
    expect(world.at('a')).toEqual(['2028-05-01T03:00', '2028-05-09T03:00']);
    expect(world.notes).toMatchObject([{ what: 'left-out' }]);
  });

  it('a job that is new, or has another schedule, has missed nothing', () => {
    const world = new World('2028-05-01T00:00:00Z', [job('a', '0 3 * * *')]).for(DAY).killed(DAY);
    world.scheduler.reload([job('a', '0 2 * * *'), job('b', '0 1 * * *')], 1, new Date(world.now));
    expect(world.scheduler.tick(new Date(world.now)).start).toEqual([]);
  });

  it.each(Array.from({ length: 50 }, (_, i) => i))(
    'killed at point %i: no run is lost, none that ended is repeated',
    (i) => {
      const world = new World('2028-05-01T02:50:00Z', [
        job('a', '0 3 * * *'),
        job('b', undefined, { after: 'a' }),
      ]);
      world.takes = () => 9 * MINUTE;
      world.for(i * MINUTE).killed(30_000);
      const before = world.runs.length;
      world.for(2 * HOUR);
      const ended = { a: i >= 19, b: i >= 28 };
      const again = world.runs.slice(before).map(({ name }) => name);
      expect(again).toEqual([...(ended.a ? [] : ['a']), ...(ended.b ? [] : ['b'])]);
    },
  );
});

describe('a run whose end no daemon saw', () => {
  const killed = (outcome: Outcome) => {
    const jobs = [job('a', '0 3 * * *'), job('b', undefined, { after: 'a' })];
    const world = new World('2028-05-01T02:59:00Z', jobs);
    world.takes = () => 10 * MINUTE;
    world.for(2 * MINUTE);
    const disk = JSON.parse(JSON.stringify(world.scheduler.states)) as States;
    world.killed(0);
    world.scheduler = new Scheduler(jobs, 100, disk, new Date(world.now), new Map([['a', outcome]]));
    return world.for(HOUR).runs.map(({ name, why }) => `${name} ${why}`);
  };

  it('but that ended well is not repeated, and what comes after it is run', () => {
    expect(killed(GOOD)).toEqual(['a schedule', 'b after']);
  });

  it('but that was stopped is run again', () => {
    expect(killed({ ...BAD, stopped: true })).toEqual(['a schedule', 'a interrupted', 'b after']);
  });
});

describe('overlap', () => {
  const slow = (overlap: Job['overlap']) => {
    const world = new World('2028-05-01T00:30:00Z', [job('a', '0 * * * *', { overlap })]);
    world.takes = () => 90 * MINUTE;
    return world.for(5 * HOUR);
  };

  it('queue: the next run waits, and is one however many were due', () => {
    expect(
      slow('queue')
        .at('a')
        .map((at) => at.slice(11)),
    ).toEqual(['01:00', '02:30', '04:00', '05:30']);
  });

  it('skip: a run that is due meanwhile is left out', () => {
    const world = slow('skip');
    expect(world.at('a').map((at) => at.slice(11))).toEqual(['01:00', '03:00', '05:00']);
    expect(world.notes).toMatchObject([{ what: 'skipped', message: 'it still runs' }, { what: 'skipped' }]);
  });

  it('fail: it counts as failed', () => {
    expect(slow('fail').notes).toMatchObject([{ what: 'failed' }, { what: 'failed' }]);
  });

  it.each([
    [['|container/db'], ['|container/db', '|container/web'], true],
    [['|*'], ['|volume/x'], true],
    [['|container/db'], ['|container/db2'], false],
  ])('jobs with claims %j and %j run one after another: %j', (a, b, apart) => {
    const world = new World('2028-05-01T00:30:00Z', [
      job('a', '0 * * * *', { claims: a }),
      job('b', '0 * * * *', { claims: b }),
    ]);
    world.takes = () => 10 * MINUTE;
    world.for(HOUR);
    expect([world.at('a'), world.at('b')]).toEqual([
      ['2028-05-01T01:00'],
      [apart ? '2028-05-01T01:10' : '2028-05-01T01:00'],
    ]);
  });
});

describe('many jobs', () => {
  it('1,000 that are due in one minute start in order and never more at once than the limit', () => {
    const jobs = Array.from({ length: 1000 }, (_, i) => job(`job-${i}`, `${i % 60} 0 3 * * *`));
    const world = new World('2028-05-01T00:00:00Z', jobs, 3);
    world.takes = () => 5000;
    world.for(DAY - HOUR);
    expect(world.most).toBe(3);
    expect(new Set(world.runs.map(({ name }) => name)).size).toBe(1000);
    const seconds = world.runs.map(({ name }) => Number(name.slice(4)) % 60);
    // Those due later never overtake, but for the first few, which start before the others are due.
    expect(seconds.slice(3)).toEqual(seconds.slice(3).toSorted((a, b) => a - b));
    expect(world.runs).toHaveLength(1000);
  });
});

describe('failures', () => {
  it('are tried again, each time after twice as long, up to a limit', () => {
    const world = new World('2028-05-01T00:00:00Z', [
      job('a', '0 3 * * *', { retry: { times: 4, delayMs: MINUTE, maxDelayMs: 3 * MINUTE } }),
    ]);
    world.outcome = () => BAD;
    world.for(6 * HOUR);
    expect(world.at('a').map((at) => at.slice(11))).toEqual(['03:00', '03:01', '03:03', '03:06', '03:09']);
    expect(world.scheduler.states.a?.failures).toBe(5);
  });

  it('that trying again cannot help are not', () => {
    const world = new World('2028-05-01T00:00:00Z', [
      job('a', '0 3 * * *', { retry: { times: 4, delayMs: MINUTE, maxDelayMs: HOUR } }),
    ]);
    world.outcome = () => ({ ok: false, retryable: false });
    expect(world.for(6 * HOUR).at('a')).toHaveLength(1);
  });

  it('of a job start nothing that comes after it', () => {
    const world = new World('2028-05-01T00:00:00Z', [
      job('a', '0 3 * * *'),
      job('b', undefined, { after: 'a' }),
    ]);
    world.outcome = () => BAD;
    expect(world.for(DAY).at('b')).toEqual([]);
  });

  it('while the engine is not there are none: the run waits for it', () => {
    const world = new World('2028-05-01T00:00:00Z', [job('a', '0 3 * * *')]);
    world.outcome = () =>
      world.now < Date.parse('2028-05-01T05:00:00Z')
        ? { ok: false, retryable: true, engineGone: true }
        : GOOD;
    world.for(6 * HOUR);
    expect(world.scheduler.states.a?.failures).toBe(0);
    const tries = world.at('a');
    expect(tries.at(-1)).toBe('2028-05-01T05:00');
    expect(tries.length).toBeLessThan(140);
  });
});

describe('jobs that come and go, as containers do', () => {
  const daily = () => job('a', '0 3 * * *', { lasting: true });
  const reload = (world: World, ...jobs: Job[]) => world.scheduler.reload(jobs, 100, new Date(world.now));

  it('one that comes back keeps its state: no run is doubled', () => {
    const world = new World('2028-05-01T00:00:00Z', [daily()]).for(3 * HOUR + MINUTE);
    reload(world);
    world.for(MINUTE);
    reload(world, daily());
    world.for(23 * HOUR);
    expect(world.at('a')).toEqual(['2028-05-01T03:00']);
    expect(world.for(2 * HOUR).at('a')).toEqual(['2028-05-01T03:00', '2028-05-02T03:00']);
  });

  it('one that was away when it was due runs when it comes back, also with another daemon', () => {
    const world = new World('2028-05-01T02:59:50Z', [daily()]);
    reload(world);
    world.for(20_000);
    expect(world.runs).toEqual([]);
    reload(world, daily());
    world.for(1000);
    expect(world.runs).toMatchObject([{ name: 'a', why: 'schedule' }]);
    const disk = JSON.parse(JSON.stringify(world.scheduler.states)) as States;
    world.now += DAY;
    // A daemon that starts knows no containers yet.
    world.scheduler = new Scheduler([], 100, disk, new Date(world.now));
    world.for(HOUR);
    reload(world, daily());
    world.for(1000);
    expect(world.runs.map(({ why }) => why)).toEqual(['schedule', 'missed']);
  });

  it('one that goes while it runs still holds what it works on, and is not started again beside itself', () => {
    const claims = ['|volume/x'];
    const a = job('a', '0 3 * * *', { lasting: true, claims });
    const b = job('b', '1 3 * * *', { lasting: true, claims });
    const world = new World('2028-05-01T02:59:00Z', [a, b]);
    world.takes = () => 10 * MINUTE;
    world.for(90_000);
    reload(world, b);
    world.for(2 * MINUTE);
    expect(world.runs.map(({ name }) => name)).toEqual(['a']);
    reload(world, a, b);
    world.for(20 * MINUTE);
    expect(world.runs.map(({ name }) => name)).toEqual(['a', 'b']);
    expect(world.at('b')).toEqual(['2028-05-01T03:10']);
  });

  it('one that fails as it goes runs again when it comes back; what it did is forgotten after a month', () => {
    const world = new World('2028-05-01T02:59:00Z', [daily()]);
    world.takes = () => MINUTE;
    world.outcome = () => BAD;
    world.for(90_000);
    reload(world);
    world.for(MINUTE);
    world.outcome = () => GOOD;
    reload(world, daily());
    world.for(MINUTE);
    expect(world.runs.map(({ why }) => why)).toEqual(['schedule', 'interrupted']);
    reload(world);
    world.now += 31 * DAY;
    reload(world);
    expect(world.scheduler.states).toEqual({});
  });

  it('one that did well as it went has what comes after it when it is back', () => {
    const next = job('n', undefined, { lasting: true, after: 'a' });
    const world = new World('2028-05-01T02:59:00Z', [daily(), next]);
    world.takes = () => MINUTE;
    world.for(90_000);
    reload(world);
    world.for(MINUTE);
    expect(world.runs.map(({ name }) => name)).toEqual(['a']);
    reload(world, daily(), next);
    world.for(HOUR);
    expect(world.runs.map(({ name }) => name)).toEqual(['a', 'n']);
  });

  it('a job of the configuration that went begins anew', () => {
    const world = new World('2028-05-01T00:00:00Z', [job('a', '0 3 * * *')]);
    reload(world);
    expect(world.scheduler.states).toEqual({});
  });

  it('200 that come and go all day, with kills: each due run once, none at the same time as itself or its volume', () => {
    const chance = random(seed());
    const jobs = Array.from({ length: 200 }, (_, i) =>
      job(`c${i}`, `${i % 60} * * * *`, {
        lasting: true,
        claims: [`|container/c${i}`, `|volume/v${i >> 1}`],
        missed: 'once',
      }),
    );
    const world = new World('2028-05-01T00:00:00Z', jobs, 50);
    world.takes = () => 20_000 + chance() * 60_000;
    let there = jobs;
    const away = new Map<string, number>();
    for (let step = 0; step < 24 * 60; step++) {
      if (step % 3 === 0) {
        there = jobs.filter(({ name }) => {
          const until = away.get(name) ?? (chance() < 0.02 ? step + 1 + Math.floor(chance() * 20) : -1);
          if (until > step) away.set(name, until);
          else away.delete(name);
          return until <= step;
        });
        reload(world, ...there);
      }
      if (step % 331 === 330) world.killed(5000, there);
      world.until(Date.parse('2028-05-01T00:00:00Z') + (step + 1) * MINUTE);
    }
    reload(world, ...jobs);
    world.takes = () => 1;
    world.for(10 * MINUTE);
    expect(world.together).toEqual([]);
    for (const { name } of jobs) {
      const runs = world.runs.filter((run) => run.name === name && run.why !== 'interrupted');
      const hours = runs.map(({ due }) => due);
      expect(new Set(hours).size, `${name} ran twice for one due time`).toBe(hours.length);
      // Every hour has its run, or, where it was away for longer, one that stands for it within the next.
      expect(runs.length, name).toBeGreaterThanOrEqual(23);
    }
  });
});

describe('waiting', () => {
  it('for a place wakes nobody up: a retry that could start, but for the limit, is not asked for again and again', () => {
    const jobs = [
      job('a', '0 3 * * *', { retry: { times: 1, delayMs: MINUTE, maxDelayMs: HOUR } }),
      job('b', '30 0 3 * * *'),
    ];
    const world = new World('2028-05-01T02:59:00Z', jobs, 1);
    world.outcome = (name) => (name === 'a' ? BAD : GOOD);
    world.takes = (name) => (name === 'b' ? 10 * MINUTE : 1000);
    world.for(5 * MINUTE);
    expect(world.runs.map(({ name }) => name)).toEqual(['a', 'b']);
    const wake = world.scheduler.nextWake(new Date(world.now));
    expect(wake?.toISOString()).toBe('2028-05-02T03:00:00.000Z');
    world.for(10 * MINUTE);
    expect(world.runs.map(({ name }) => name)).toEqual(['a', 'b', 'a']);
  });
});

describe('jitter', () => {
  it('starts each run later by another amount, below the limit, and loses none', () => {
    const world = new World('2028-05-01T00:00:00Z', [job('a', '0 3 * * *', { jitterMs: 30 * MINUTE })]).for(
      30 * DAY,
    );
    const late = world.runs.map(({ at }) => (Date.parse(at) % DAY) - 3 * HOUR);
    expect(late).toHaveLength(30);
    expect(late.every((ms) => ms >= 0 && ms < 30 * MINUTE)).toBe(true);
    expect(new Set(late).size).toBe(30);
  });
});
