import { readdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { jsonLog, textLog } from '../../src/cli/render/log.ts';
import { parseConfig } from '../../src/config/load.ts';
import type { Ended } from '../../src/daemon/child.ts';
import { hostsOf, milliseconds, scheduledJobs } from '../../src/daemon/jobs.ts';
import { exitOfRun, lockJob, takeLock } from '../../src/daemon/lock.ts';
import { createMetrics } from '../../src/daemon/metrics.ts';
import { endedMeanwhile } from '../../src/daemon/orphans.ts';
import { leftSomething, outcomeOf } from '../../src/daemon/outcome.ts';
import { serve } from '../../src/daemon/server.ts';
import { readStates, writeStates } from '../../src/daemon/state.ts';
import { Scheduler } from '../../src/schedule/scheduler.ts';
import { tempDir } from '../support/temp.ts';

const never = new AbortController().signal;

describe('the lock against two daemons', () => {
  it('is refused to a second one, and free again when the first ends', async () => {
    const dir = await tempDir();
    const unlock = await takeLock(dir, never);
    await expect(takeLock(dir, never)).rejects.toMatchObject({ code: 'CONFIG', exitCode: 78 });
    await unlock();
    await (await takeLock(dir, never))();
    expect(await readdir(dir)).toHaveLength(1);
  });

  it('of a daemon that was killed is taken over by one of those that try', async () => {
    const dir = await tempDir();
    const { hostname } = await import('node:os');
    await writeFile(path.join(dir, 'lock.1'), JSON.stringify({ owner: `${hostname()}:4194303:1`, beat: 7 }));
    const tries = await Promise.allSettled(Array.from({ length: 8 }, () => takeLock(dir, never)));
    expect(tries.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    for (const tried of tries) if (tried.status === 'fulfilled') await tried.value();
  });

  it('of another host is taken over only where its beat stands still', async () => {
    const dir = await tempDir();
    const file = path.join(dir, 'lock.1');
    let beat = 0;
    const write = () => writeFile(file, JSON.stringify({ owner: 'an-earlier-container:1:5', beat: beat++ }));
    await write();
    const beating = setInterval(write, 50);
    await expect(takeLock(dir, never, 400)).rejects.toMatchObject({ code: 'CONFIG' });
    clearInterval(beating);
    await new Promise((resolve) => setTimeout(resolve, 100));
    await (await takeLock(dir, never, 400))();
  });
});

describe('the lock of a job', () => {
  it('is refused to a second run of it, not to another job, and free again when it ends', async () => {
    const dir = await tempDir();
    const unlock = await lockJob(dir, { job: 'db:backup' }, never);
    await expect(lockJob(dir, { job: 'db:backup' }, never)).rejects.toMatchObject({
      code: 'JOB_BUSY',
      exitCode: 11,
    });
    await (await lockJob(dir, { job: 'db:verify' }, never))();
    await unlock();
    await (await lockJob(dir, { job: 'db:backup' }, never))();
  });

  it('tells a later daemon how a run ended that it did not see; of no other run, and of none that was killed', async () => {
    const dir = await tempDir();
    const run = '2026-11-21T03:00:00.000Z';
    expect(await exitOfRun(dir, 'db:backup', run)).toBeUndefined();
    const release = await lockJob(dir, { job: 'db:backup', run }, never);
    expect(await exitOfRun(dir, 'db:backup', run)).toBeUndefined();
    await release(3);
    expect(await exitOfRun(dir, 'db:backup', run)).toBe(3);
    expect(await exitOfRun(dir, 'db:backup', '2026-11-22T03:00:00.000Z')).toBeUndefined();
    const running = (started: string) => ({
      plan: '',
      considered: '',
      failures: 0,
      running: { due: '', why: 'schedule' as const, attempt: 1, started },
    });
    const states = { 'db:backup': running(run), other: running(run) };
    expect([...(await endedMeanwhile(states, dir))]).toEqual([
      ['db:backup', expect.objectContaining({ ok: true })],
    ]);
  });

  it('that is held means waiting to the daemon, and no failure', () => {
    const ended = { exit: 11, error: { code: 'JOB_BUSY' } };
    expect(outcomeOf(ended, false)).toMatchObject({ ok: false, busy: true });
    expect(outcomeOf({ exit: 11, error: { code: 'REPOSITORY_BUSY' } }, false)).toMatchObject({ busy: false });
  });
});

describe('the state on disk', () => {
  it('is read as it was written; one that cannot be read is an error, not a new beginning', async () => {
    const file = path.join(await tempDir(), 'daemon', 'state.json');
    expect(await readStates(file)).toEqual({});
    const states = { a: { plan: '', considered: '2026-11-21T00:00:00.000Z', failures: 2 } };
    await writeStates(file, states);
    expect(await readStates(file)).toEqual(states);
    await writeFile(file, '{"jobs":');
    await expect(readStates(file)).rejects.toMatchObject({ code: 'CONFIG' });
  });
});

describe('what an exit code means', () => {
  it.each<[number | undefined, string | undefined, boolean, object]>([
    [0, undefined, false, { ok: true, retryable: false, engineGone: false, busy: false, stopped: false }],
    [3, undefined, false, { ok: true, retryable: false, engineGone: false, busy: false, stopped: false }],
    [20, undefined, false, { ok: false, retryable: true, engineGone: true, busy: false, stopped: false }],
    [31, undefined, false, { ok: false, retryable: true, engineGone: false, busy: false, stopped: false }],
    [40, undefined, false, { ok: false, retryable: false, engineGone: false, busy: false, stopped: false }],
    [78, undefined, false, { ok: false, retryable: false, engineGone: false, busy: false, stopped: false }],
    [143, undefined, false, { ok: false, retryable: true, engineGone: false, busy: false, stopped: false }],
    [143, undefined, true, { ok: false, retryable: true, engineGone: false, busy: false, stopped: true }],
    [
      undefined,
      'SIGKILL',
      false,
      { ok: false, retryable: true, engineGone: false, busy: false, stopped: false },
    ],
  ])('exit %j, signal %j, stopping %j', (exit, signal, stopping, expected) => {
    const ended = { exit, ...(signal === undefined ? {} : { signal }) };
    expect(outcomeOf(ended, stopping)).toEqual(expected);
    expect(leftSomething(ended)).toBe(signal !== undefined);
  });
});

const CONFIG = `defaults: { timezone: Europe/Berlin, retry: { times: 5 } }
jobs:
  a: { backup: { containers: [db] }, schedule: "0 3 * * *", jitter: 1h, overlap: skip }
  b: { prune: {}, after: a, host: "tcp://far:2376", retry: { times: 0 } }
`;

describe('jobs of the configuration', () => {
  const config = parseConfig(CONFIG, 'x', {}, () => undefined);

  it('are those of the scheduler, with defaults', () => {
    const [a, b] = scheduledJobs(config, 'UTC');
    expect(a).toMatchObject({
      name: 'a',
      plan: '0 3 * * * Europe/Berlin',
      claims: ['|container/db'],
      jitterMs: 3_600_000,
      overlap: 'skip',
      missed: 'once',
      retry: { times: 5, delayMs: 60_000, maxDelayMs: 3_600_000 },
    });
    expect(b).toMatchObject({ plan: '', after: 'a', overlap: 'queue', retry: { times: 0 } });
    expect(hostsOf(config)).toEqual(['', 'tcp://far:2376']);
    expect(milliseconds('2w')).toBe(14 * 86_400_000);
  });

  it('are told to Prometheus over HTTP', async () => {
    const now = new Date('2026-11-21T00:00:00Z');
    const scheduler = new Scheduler(scheduledJobs(config, 'UTC'), 1, {}, now);
    const metrics = await createMetrics(() => scheduler, '1.2.3');
    const summary = {
      command: 'backup',
      exit: 0,
      snapshots: [
        {
          source: 'h/container/db',
          status: 'complete',
          ofSource: 7,
          volumes: [
            { readBytes: 5, newBytes: 3, storedBytes: 2 },
            { readBytes: 1, newBytes: 1, storedBytes: 1 },
          ],
        },
      ],
    };
    const ended = (job: string, result: 'ok' | 'failed', seconds: number, of: Ended) =>
      metrics.ended({ job, repository: 'main', result, seconds, ended: of }, now);
    ended('a', 'ok', 1.5, { exit: 0, summary });
    const forgotten = {
      source: 'h/volume/old',
      snapshots: [{ keep: true }, { keep: false }, { keep: true }],
    };
    const forget = { command: 'forget', exit: 0, dryRun: false, sources: [forgotten] };
    ended('c', 'ok', 1, { exit: 0, summary: forget });
    ended('b', 'failed', 1, { exit: 41, summary: { command: 'drill', passed: false } });
    const server = await serve('127.0.0.1:0', {
      '/metrics': async () => ({ status: 200, ...(await metrics.text()) }),
    });
    try {
      const { port } = server.address() as { port: number };
      const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
      expect((await fetch(`http://127.0.0.1:${port}/other`)).status).toBe(404);
      for (const line of [
        'volbak_job_runs_total{job="a",result="ok"} 1',
        'volbak_job_runs_total{job="b",result="failed"} 1',
        'volbak_job_last_bytes{job="a",kind="read"} 6',
        'volbak_job_last_bytes{job="a",kind="stored"} 3',
        'volbak_snapshot_timestamp_seconds{source="h/container/db",status="complete"} 1795219200',
        'volbak_snapshots{source="h/container/db",repository="main"} 7',
        'volbak_snapshots{source="h/volume/old",repository="main"} 2',
        'volbak_drill_passed{job="b"} 0',
        'volbak_jobs 2',
        'volbak_build_info{version="1.2.3"} 1',
      ])
        expect(text.split('\n')).toContain(line);
      expect(text).toMatch(/^volbak_job_next_run_timestamp_seconds\{job="a"\} \d+/m);
    } finally {
      server.close();
    }
  });

  it.each(['nonsense', 'host:', '1.2.3.4:99999'])('%s is no address to listen on', async (listen) => {
    await expect(serve(listen, {})).rejects.toMatchObject({ code: 'CONFIG' });
  });
});

describe('the log', () => {
  it('is JSON lines, or lines in which nothing of a message can move the cursor', async () => {
    const lines: string[] = [];
    (await jsonLog((text) => lines.push(text))).warn('careful', { job: 'a' });
    expect(JSON.parse(lines[0] ?? '')).toMatchObject({
      level: 'warn',
      msg: 'careful',
      job: 'a',
      time: expect.stringMatching(/Z$/),
    });
    textLog(
      (text) => lines.push(text),
      () => new Date(0),
    ).error('a failed: \u001b[2J\nx', { seconds: 2, why: 'retry', attempt: 2 });
    expect(lines[1]).toMatch(/^1970-01-01T00:00:00\.000Z error a failed: .* \(2 s, retry, attempt 2\)\n$/);
    expect(lines[1]).not.toContain('\u001b');
  });
});
