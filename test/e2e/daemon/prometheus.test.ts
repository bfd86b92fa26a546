import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { runScript } from '../../support/run-script.ts';
import { eventually } from '../../support/scene.ts';
import { site } from '../../support/site.ts';
import { freePort } from '../../support/store-servers.ts';
import { afterwards, tempDir } from '../../support/temp.ts';
import { finished, type Json, spawnVolbak } from '../../support/volbak.ts';

beforeAll(() => runScript('packages.sh', ['/usr/bin/prometheus=prometheus']));

/** A real Prometheus that scrapes one target every second; answers with how to ask it. */
async function prometheus(target: string): Promise<(query: string) => Promise<Json[]>> {
  const dir = await tempDir();
  const config = path.join(dir, 'prometheus.yml');
  await writeFile(
    config,
    `scrape_configs: [{ job_name: volbak, scrape_interval: 1s, static_configs: [{ targets: ["${target}"] }] }]\n`,
  );
  const port = await freePort();
  const child = spawn(
    '/usr/bin/prometheus',
    [`--config.file=${config}`, `--storage.tsdb.path=${dir}/data`, `--web.listen-address=127.0.0.1:${port}`],
    { stdio: 'ignore' },
  );
  const ended = once(child, 'close');
  afterwards(async () => {
    child.kill('SIGKILL');
    await ended;
  });
  return async (query) => {
    const url = `http://127.0.0.1:${port}/api/v1/query?query=${encodeURIComponent(query)}`;
    const answer = (await fetch(url).then(
      (response) => response.json(),
      () => undefined,
    )) as Json;
    return answer?.data?.result ?? [];
  };
}

describe('a real Prometheus', () => {
  it('scrapes the daemon, and finds a job that fails by the expressions that the page names', async () => {
    const at = await site();
    const volume = await at.volume('v', 'echo one >file');
    const listen = `127.0.0.1:${await freePort()}`;
    const file = path.join(await tempDir(), 'volbak.yaml');
    await writeFile(
      file,
      `repositories: { main: { url: ${at.repo} } }
defaults: { host: "${at.host}", retry: { times: 0 } }
jobs:
  good: { backup: { volume: [${volume}] }, schedule: "*/2 * * * * *" }
  bad: { backup: { volume: [${at.name('nothing')}] }, schedule: "*/2 * * * * *", silence: 3s }
daemon: { listen: "${listen}" }
`,
    );
    const child = await spawnVolbak(['--config', file, 'daemon']);
    const end = finished(child);
    afterwards(async () => {
      child.kill('SIGKILL');
      await end.catch(() => {});
    });
    const ask = await prometheus(listen);
    const jobsOf = async (query: string) => (await ask(query)).map(({ metric }) => metric.exported_job);
    const one = (query: string) => eventually(query, async () => (await ask(query))[0], 60);
    await one('volbak_job_runs_total{exported_job="good",result="ok"} >= 2');
    await one('volbak_job_runs_total{exported_job="bad",result="failed"} >= 2');
    expect(await jobsOf('volbak_job_failures > 0')).toEqual(['bad']);
    expect((await one('volbak_job_silent == 1')).metric.exported_job).toBe('bad');
    expect(await jobsOf('volbak_snapshot_shrunk == 1')).toEqual([]);
    expect(await jobsOf('time() - volbak_job_last_success_timestamp_seconds < 60')).toEqual(['good']);
    expect(await jobsOf('volbak_job_next_run_timestamp_seconds - time() < 10')).toEqual(
      expect.arrayContaining(['good', 'bad']),
    );
    expect((await one('volbak_snapshot_timestamp_seconds')).metric).toMatchObject({
      source: `host-a/volume/${volume}`,
      status: 'complete',
    });
    expect((await one('volbak_engine_up')).value[1]).toBe('1');
    expect((await ask('up')).map(({ value }) => value[1])).toEqual(['1']);
    child.kill('SIGTERM');
    expect((await end).exit).toBe(0);
    await eventually(
      'Prometheus sees that it is gone',
      async () => (await ask('up'))[0]?.value[1] === '0',
      30,
    );
  });
});
