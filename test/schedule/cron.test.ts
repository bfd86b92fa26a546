import { DateTime } from 'luxon';
import { describe, expect, it } from 'vitest';
import { jitterOf, Schedule, scheduleProblem } from '../../src/schedule/cron.ts';

/** All runs in [from, to), as local time with offset. */
function runs(expression: string, zone: string, from: string, to: string): string[] {
  const schedule = new Schedule(expression, zone);
  const end = DateTime.fromISO(to, { zone }).toMillis();
  const found: string[] = [];
  let at = schedule.next(new Date(DateTime.fromISO(from, { zone }).toMillis() - 1));
  while (at && at.getTime() < end) {
    found.push(DateTime.fromJSDate(at, { zone }).toFormat("yyyy-MM-dd'T'HH:mm:ssZZ"));
    at = schedule.next(at);
  }
  return found;
}

const BERLIN = 'Europe/Berlin';
const NEW_YORK = 'America/New_York';

describe('the days on which clocks change', () => {
  it.each<[string, string, string, string, string, string[]]>([
    [
      'spring, a time that is skipped comes at the change',
      '30 2 * * *',
      BERLIN,
      '2028-03-25T12:00',
      '2028-03-27T12:00',
      ['2028-03-26T03:00:00+02:00', '2028-03-27T02:30:00+02:00'],
    ],
    [
      'spring, the end of the skipped hour comes once',
      '0 3 * * *',
      BERLIN,
      '2028-03-25T12:00',
      '2028-03-27T12:00',
      ['2028-03-26T03:00:00+02:00', '2028-03-27T03:00:00+02:00'],
    ],
    [
      'autumn, a time that comes twice counts once',
      '30 2 * * *',
      BERLIN,
      '2028-10-28T12:00',
      '2028-10-30T12:00',
      ['2028-10-29T02:30:00+02:00', '2028-10-30T02:30:00+01:00'],
    ],
    [
      'autumn, the hour behind it is where it is',
      '0 3 * * *',
      BERLIN,
      '2028-10-28T12:00',
      '2028-10-30T12:00',
      ['2028-10-29T03:00:00+01:00', '2028-10-30T03:00:00+01:00'],
    ],
    [
      'autumn, midnight',
      '@daily',
      BERLIN,
      '2028-10-28T12:00',
      '2028-10-30T12:00',
      ['2028-10-29T00:00:00+02:00', '2028-10-30T00:00:00+01:00'],
    ],
    [
      'spring, each hour that there is',
      '0 * * * *',
      BERLIN,
      '2028-03-26T00:30',
      '2028-03-26T04:30',
      ['2028-03-26T01:00:00+01:00', '2028-03-26T03:00:00+02:00', '2028-03-26T04:00:00+02:00'],
    ],
    [
      'autumn, each hour that there is',
      '@hourly',
      BERLIN,
      '2028-10-29T00:30',
      '2028-10-29T03:30',
      [
        '2028-10-29T01:00:00+02:00',
        '2028-10-29T02:00:00+02:00',
        '2028-10-29T02:00:00+01:00',
        '2028-10-29T03:00:00+01:00',
      ],
    ],
    [
      'spring in New York',
      '15 2 * * *',
      NEW_YORK,
      '2028-03-11T12:00',
      '2028-03-13T12:00',
      ['2028-03-12T03:00:00-04:00', '2028-03-13T02:15:00-04:00'],
    ],
    [
      'autumn in New York',
      '15 1 * * *',
      NEW_YORK,
      '2028-11-04T12:00',
      '2028-11-06T12:00',
      ['2028-11-05T01:15:00-04:00', '2028-11-06T01:15:00-05:00'],
    ],
    [
      'where a change is by half an hour',
      '10 2 * * *',
      'Australia/Lord_Howe',
      '2028-09-30T12:00',
      '2028-10-02T12:00',
      ['2028-10-01T02:30:00+11:00', '2028-10-02T02:10:00+11:00'],
    ],
  ])('%s', (_, expression, zone, from, to, expected) => {
    expect(runs(expression, zone, from, to)).toEqual(expected);
  });

  it.each([BERLIN, NEW_YORK])(
    'a year of each hour in %s has as many as it has hours, and none twice',
    (zone) => {
      const found = runs('0 * * * *', zone, '2028-01-01', '2029-01-01');
      expect(found).toHaveLength(366 * 24);
      expect(new Set(found).size).toBe(found.length);
    },
  );

  it.each([BERLIN, NEW_YORK])('a leap year of 02:30 in %s has 366 runs, one on each day', (zone) => {
    const days = runs('30 2 * * *', zone, '2028-01-01', '2029-01-01').map((at) => at.slice(0, 10));
    expect(days).toHaveLength(366);
    expect(new Set(days).size).toBe(366);
  });
});

describe('expressions', () => {
  it.each<[string, string[]]>([
    ['0 0 29 2 *', ['2028-02-29T00:00:00+00:00', '2032-02-29T00:00:00+00:00']],
    [
      '*/20 59 23 31 12 *',
      ['2027-12-31T23:59:00+00:00', '2027-12-31T23:59:20+00:00', '2027-12-31T23:59:40+00:00'],
    ],
    ['@yearly', ['2028-01-01T00:00:00+00:00']],
    [
      '0 9 * * mon-fri',
      [
        '2027-12-27T09:00:00+00:00',
        '2027-12-28T09:00:00+00:00',
        '2027-12-29T09:00:00+00:00',
        '2027-12-30T09:00:00+00:00',
        '2027-12-31T09:00:00+00:00',
        '2028-01-03T09:00:00+00:00',
      ],
    ],
  ])('%s', (expression, expected) => {
    expect(runs(expression, 'UTC', '2027-12-25', '2033-01-01').slice(0, expected.length)).toEqual(expected);
  });

  it.each(['', '* * * *', '0 0 0 0 0 0 0', '60 * * * *', '0 0 30 2 *', 'soon'])(
    '%j is told to be wrong',
    (text) => {
      expect(scheduleProblem(text, 'UTC', new Date('2026-01-01'))).toBeDefined();
    },
  );
});

describe('jitter', () => {
  it('is below its limit, the same each time, and another one for another job or time', () => {
    const due = new Date('2027-01-01T03:00:00Z');
    const all = Array.from({ length: 200 }, (_, i) => jitterOf(`job-${i}`, due, 600_000));
    expect(Math.max(...all)).toBeLessThan(600_000);
    expect(Math.min(...all)).toBeGreaterThanOrEqual(0);
    expect(Math.max(...all) - Math.min(...all)).toBeGreaterThan(500_000);
    expect(jitterOf('job-1', due, 600_000)).toBe(all[1]);
    expect(jitterOf('job-1', new Date('2027-01-02T03:00:00Z'), 600_000)).not.toBe(all[1]);
  });
});
