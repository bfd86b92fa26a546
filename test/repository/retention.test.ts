import { describe, expect, it } from 'vitest';
import { hasRules, isTimeZone, type RetentionRules, retain } from '../../src/repository/retention.ts';

/** Snapshots by their UTC times, oldest first; a `~` before one says that it is partial, `#k=v` after it tags it. */
function snapshots(...times: string[]) {
  return times.map((text, i) => {
    const [, partial, time = '', key, value] = /^(~?)([^#]+)(?:#(\w+)=(\w+))?$/.exec(text) ?? [];
    const stamp = new Date(`${time}Z`).toISOString().replace(/[-:]|\.000/g, '');
    return {
      id: `${stamp}-${i.toString(16).padStart(6, '0')}`,
      complete: partial === '',
      tags: key === undefined ? {} : { [key]: value as string },
    };
  });
}

/** What stays, as `position: reasons`. */
function kept(times: string[], rules: RetentionRules, zone = 'UTC'): string[] {
  return retain(snapshots(...times), rules, zone).flatMap(({ keep, reasons }, i) =>
    keep ? [`${times[i]}: ${reasons.join(', ')}`] : [],
  );
}

describe('retain: golden tables', () => {
  it.each<[string, string[], RetentionRules, string, string[]]>([
    [
      'last',
      ['2026-01-01T00:00', '2026-01-01T00:01', '2026-01-01T00:02'],
      { last: 2 },
      'UTC',
      ['2026-01-01T00:01: last', '2026-01-01T00:02: last, last complete'],
    ],
    [
      'daily keeps the last of each day that has one; days without any cost nothing',
      ['2026-03-01T01:00', '2026-03-01T23:00', '2026-03-05T10:00', '2026-03-20T09:00', '2026-03-20T10:00'],
      { daily: 3 },
      'UTC',
      [
        '2026-03-01T23:00: daily 2026-03-01',
        '2026-03-05T10:00: daily 2026-03-05',
        '2026-03-20T10:00: daily 2026-03-20, last complete',
      ],
    ],
    [
      'days begin at midnight of the time zone',
      ['2026-06-01T21:30', '2026-06-01T22:30', '2026-06-02T21:59'],
      { daily: 9 },
      'Europe/Berlin',
      ['2026-06-01T21:30: daily 2026-06-01', '2026-06-02T21:59: daily 2026-06-02, last complete'],
    ],
    [
      'the hour that comes twice when summer time ends is two hours',
      ['2026-10-25T00:10', '2026-10-25T00:50', '2026-10-25T01:10', '2026-10-25T01:50', '2026-10-25T02:10'],
      { hourly: 9 },
      'Europe/Berlin',
      [
        '2026-10-25T00:50: hourly 2026-10-25 02:00+02:00',
        '2026-10-25T01:50: hourly 2026-10-25 02:00+01:00',
        '2026-10-25T02:10: hourly 2026-10-25 03:00+01:00, last complete',
      ],
    ],
    [
      'the day of 23 hours is one day, and the hour that it lacks is none',
      ['2026-03-28T22:59', '2026-03-28T23:00', '2026-03-29T00:59', '2026-03-29T01:00', '2026-03-29T21:59'],
      { daily: 2, hourly: 2 },
      'Europe/Berlin',
      [
        '2026-03-28T22:59: daily 2026-03-28',
        '2026-03-29T01:00: hourly 2026-03-29 03:00+02:00',
        '2026-03-29T21:59: hourly 2026-03-29 23:00+02:00, daily 2026-03-29, last complete',
      ],
    ],
    [
      'weeks are ISO weeks: around new year they belong to one year or the other',
      ['2024-12-29T12:00', '2024-12-30T12:00', '2025-01-05T12:00', '2026-12-31T12:00', '2027-01-03T12:00'],
      { weekly: 9, yearly: 9 },
      'UTC',
      [
        '2024-12-29T12:00: weekly 2024-W52',
        '2024-12-30T12:00: yearly 2024',
        '2025-01-05T12:00: weekly 2025-W01, yearly 2025',
        '2026-12-31T12:00: yearly 2026',
        '2027-01-03T12:00: weekly 2026-W53, yearly 2027, last complete',
      ],
    ],
    [
      'leap days are days of February',
      ['2028-02-28T10:00', '2028-02-29T10:00', '2028-03-01T10:00'],
      { daily: 2, monthly: 2 },
      'UTC',
      [
        '2028-02-29T10:00: daily 2028-02-29, monthly 2028-02',
        '2028-03-01T10:00: daily 2028-03-01, monthly 2028-03, last complete',
      ],
    ],
    [
      'months and years end with the zone, too',
      ['2026-12-31T22:30', '2026-12-31T23:30', '2027-01-01T00:30'],
      { monthly: 9, yearly: 9 },
      'America/New_York',
      ['2027-01-01T00:30: monthly 2026-12, yearly 2026, last complete'],
    ],
    [
      'within counts back from the newest snapshot, not from now',
      ['2020-01-01T00:00', '2020-01-02T00:00', '2020-01-03T00:00'],
      { within: 86_400_000 },
      'UTC',
      ['2020-01-02T00:00: within', '2020-01-03T00:00: within, last complete'],
    ],
    [
      'tags: by key, and by key and value',
      ['2026-01-01T00:00#why=release', '2026-01-02T00:00#why=test', '2026-01-03T00:00', '2026-01-04T00:00'],
      { tags: ['why=release', 'why'] },
      'UTC',
      [
        '2026-01-01T00:00#why=release: tag why=release, tag why',
        '2026-01-02T00:00#why=test: tag why',
        '2026-01-04T00:00: last complete',
      ],
    ],
    [
      'several rules: each by itself',
      ['2026-01-01T00:00', '2026-02-01T00:00', '2026-02-02T00:00', '2026-02-03T00:00'],
      { last: 1, daily: 2, monthly: 2 },
      'UTC',
      [
        '2026-01-01T00:00: monthly 2026-01',
        '2026-02-02T00:00: daily 2026-02-02',
        '2026-02-03T00:00: last, daily 2026-02-03, monthly 2026-02, last complete',
      ],
    ],
    [
      'partial snapshots use up no place of complete ones',
      ['2026-01-01T00:00', '~2026-01-02T00:00', '2026-01-03T00:00', '~2026-01-04T00:00', '~2026-01-05T00:00'],
      { daily: 2 },
      'UTC',
      [
        '2026-01-01T00:00: daily 2026-01-01',
        '2026-01-03T00:00: daily 2026-01-03, last complete',
        '~2026-01-04T00:00: daily 2026-01-04',
        '~2026-01-05T00:00: daily 2026-01-05',
      ],
    ],
    [
      'nor do they stand for a day that has a complete one',
      ['2026-01-01T00:00', '~2026-01-01T10:00', '~2026-01-02T10:00'],
      { daily: 1 },
      'UTC',
      ['2026-01-01T00:00: daily 2026-01-01, last complete', '~2026-01-02T10:00: daily 2026-01-02'],
    ],
    [
      'a source that is always partial is thinned out all the same, and keeps its last one',
      ['~2026-01-01T00:00', '~2026-01-02T00:00', '~2026-01-03T00:00'],
      { daily: 2 },
      'UTC',
      ['~2026-01-02T00:00: daily 2026-01-02', '~2026-01-03T00:00: daily 2026-01-03, none is complete'],
    ],
    [
      'the last complete one stays, however old it is and whatever the rules say',
      ['2020-01-01T00:00', '~2026-01-02T00:00', '~2026-01-03T00:00#a=b'],
      { tags: ['a'] },
      'UTC',
      ['2020-01-01T00:00: last complete', '~2026-01-03T00:00#a=b: tag a'],
    ],
    ['of nothing stays nothing', [], { last: 1 }, 'UTC', []],
  ])('%s', (_, times, rules, zone, expected) => {
    expect(kept(times, rules, zone)).toEqual(expected);
  });
});

describe('retain', () => {
  it('over years of hourly snapshots keeps exactly what the counts say, each with its reason', () => {
    const all = Array.from({ length: 24 * 800 }, (_, i) =>
      new Date(Date.UTC(2024, 0, 1) + i * 3_600_000).toISOString().slice(0, 19),
    );
    const rules = { hourly: 24, daily: 7, weekly: 5, monthly: 12, yearly: 3 };
    const verdicts = retain(snapshots(...all), rules, 'Europe/Berlin').filter((v) => v.keep);
    const reasons = verdicts.flatMap((v) => v.reasons.map((reason) => reason.split(' ')[0]));
    for (const [rule, count] of Object.entries(rules))
      expect(
        reasons.filter((r) => r === rule),
        rule,
      ).toHaveLength(count);
    expect(verdicts.at(-1)?.reasons).toHaveLength(6);
  });

  it('says the same whatever the time zone of this machine', () => {
    const times = ['2026-06-01T21:30', '2026-06-01T22:30', '2026-06-02T21:59'];
    const here = kept(times, { daily: 9 }, 'Asia/Tokyo');
    expect(here).toEqual(
      ['2026-06-01T22:30: daily 2026-06-02', '2026-06-02T21:59: daily 2026-06-03, last complete'].map(
        (s) => s,
      ),
    );
  });
});

describe('hasRules', () => {
  it('is false where nothing would be kept by choice', () => {
    expect(hasRules({})).toBe(false);
    expect(hasRules({ tags: [] })).toBe(false);
    expect(hasRules({ tags: ['a'] })).toBe(true);
    expect(hasRules({ within: 1 })).toBe(true);
    expect(hasRules({ last: 1 })).toBe(true);
  });
});

describe('isTimeZone', () => {
  it('knows zones by their names', () => {
    for (const zone of ['UTC', 'Europe/Berlin', 'America/New_York']) expect(isTimeZone(zone)).toBe(true);
    for (const zone of ['Mars/Base', '', 'x y']) expect(isTimeZone(zone)).toBe(false);
  });
});
