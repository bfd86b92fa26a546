import { describe, expect, it } from 'vitest';
import { Schedule } from '../../src/schedule/cron.ts';
import { Silence } from '../../src/schedule/silence.ts';
import type { Job, JobState, States } from '../../src/schedule/types.ts';

const HOUR = 3_600_000;
const at = (text: string) => new Date(`2028-${text}:00Z`);

function job(more: Partial<Job> = {}): Job {
  return {
    name: 'a',
    plan: '',
    claims: [],
    jitterMs: 0,
    overlap: 'queue',
    missed: 'once',
    retry: { times: 0, delayMs: 0, maxDelayMs: 0 },
    schedule: new Schedule('0 3 * * *', 'UTC'),
    makesSnapshots: true,
    ...more,
  };
}

const state = (more: Partial<JobState> = {}): JobState => ({
  plan: '',
  considered: at('05-01T00:00').toISOString(),
  since: at('05-01T00:00').toISOString(),
  failures: 0,
  ...more,
});

/** When a job is first noticed, looked at each quarter of an hour for some days. */
function noticed(one: Job, before: JobState, started = at('05-01T00:00')): string | undefined {
  const silence = new Silence(started);
  const states: States = { a: before };
  const found: string[] = [];
  for (let now = started.getTime(); now < started.getTime() + 10 * 24 * HOUR; now += HOUR / 4)
    for (const _ of silence.notice([one], states, new Date(now)))
      found.push(new Date(now).toISOString().slice(5, 16));
  expect(found.length).toBeLessThanOrEqual(1);
  return found[0];
}

describe('silence of a job', () => {
  it.each<[string, Partial<Job>, Partial<JobState>, string | undefined]>([
    [
      'two runs and an hour by its schedule',
      {},
      { lastSuccess: at('05-01T03:10').toISOString() },
      '05-03T04:00',
    ],
    ['the same where it never did well', {}, {}, '05-02T04:00'],
    ['with its jitter', { jitterMs: HOUR }, {}, '05-02T05:00'],
    [
      'so long as was said',
      { silenceMs: 36 * HOUR },
      { lastSuccess: at('05-01T03:00').toISOString() },
      '05-02T15:00',
    ],
    ['never, where that was said', { silenceMs: 0 }, {}, undefined],
    ['never for what makes no snapshot, unless said', { makesSnapshots: false }, {}, undefined],
    ['said for what makes none', { makesSnapshots: false, silenceMs: HOUR }, {}, '05-01T01:00'],
    [
      'never counted while its container was away',
      {},
      { lastSuccess: at('04-01T03:00').toISOString(), since: at('05-01T12:00').toISOString() },
      '05-03T04:00',
    ],
  ])('%s', (_, more, before, expected) => {
    expect(noticed(job(more), state(before))).toBe(expected);
  });

  it('a daemon that starts late first gets a quarter of an hour to make up for it', () => {
    expect(noticed(job(), state(), at('05-09T00:00'))).toBe('05-09T00:15');
  });

  it('one that was told of is not told again, and is again after it did well in between', () => {
    const silence = new Silence(at('05-01T00:00'));
    const states: States = { a: state({ silent: true }) };
    expect(silence.notice([job()], states, at('06-01T00:00'))).toEqual([]);
    states.a = state({ lastSuccess: at('05-20T00:00').toISOString() });
    expect(silence.notice([job()], states, at('06-01T00:00'))).toEqual([
      { job: 'a', since: at('05-20T00:00').toISOString() },
    ]);
  });
});
