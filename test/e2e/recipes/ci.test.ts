import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { derivedImage } from '../../support/databases.ts';
import { cleanEnv } from '../../support/engine.ts';
import { type Site, site } from '../../support/site.ts';
import { tempDir } from '../../support/temp.ts';
import { privateHomes, projectRoot } from '../../support/volbak.ts';

interface Step {
  name?: string;
  if?: string;
  run?: string;
  uses?: string;
}

const example = async (name: string) =>
  parse(await readFile(path.join(projectRoot, 'recipes/ci', name), 'utf8'));

/** Runs a script as the runners of both do, in the environment of a job; its exit code. */
async function runner(
  at: Site,
  cwd: string,
  env: Record<string, string>,
): Promise<(script: string) => Promise<number>> {
  const all = {
    ...cleanEnv(),
    ...(await privateHomes()),
    PATH: `${path.join(projectRoot, 'bin')}:${process.env.PATH}`,
    DOCKER_HOST: at.host,
    VOLBAK_REPO: at.repo,
    ...env,
  };
  return (script) =>
    new Promise((resolve) => {
      execFile(
        'bash',
        ['--noprofile', '--norc', '-eo', 'pipefail', '-c', script],
        { cwd, env: all },
        (error) => resolve(error ? Number(error.code) : 0),
      );
    });
}

/** A service that comes up on its volume for as long as a file is in it. */
async function service(at: Site): Promise<string> {
  const serve = '#!/bin/sh\ntest -e /data/file || exit 5\nexec sleep 600';
  const image = await derivedImage(at, 'busybox', { '/usr/bin/serve': serve }, ['CMD ["serve"]']);
  const volume = await at.volume('v', 'echo hello >file');
  const app = await at.container('app', '-v', `${volume}:/data`, image);
  await at.ok('backup', app);
  return app;
}

async function github(at: Site, cwd: string): Promise<{ failed: string[]; summary: string }> {
  const { jobs } = await example('github-actions.yml');
  const summary = path.join(cwd, 'summary.md');
  const run = await runner(at, cwd, { GITHUB_STEP_SUMMARY: summary });
  const failed: string[] = [];
  for (const step of jobs.drill.steps as Step[]) {
    // Fetching volbak and other people's actions: not ours to run here.
    if (step.run === undefined || step.name === 'Install volbak') continue;
    if (failed.length > 0 && step.if !== 'always()') continue;
    if ((await run(step.run)) !== 0) failed.push(step.name ?? '');
  }
  return { failed, summary: await readFile(summary, 'utf8') };
}

describe('recipes/ci', () => {
  it('github-actions.yml: its steps pass, and the summary is the report; a bad snapshot fails the job, which says why', async () => {
    const at = await site();
    const app = await service(at);
    const good = await github(at, await tempDir());
    expect(good.failed).toEqual([]);
    expect(good.summary).toMatch(/^## Trial restores: passed/);
    await at.inside(at.name('v'), 'rm file');
    await at.ok('backup', app);
    const dir = await tempDir();
    const bad = await github(at, dir);
    expect(bad.failed).toEqual(['Drill']);
    expect(bad.summary).toContain('| start | **failed** | it ended with exit code 5');
    expect(await readFile(path.join(dir, 'drill.xml'), 'utf8')).toContain('failures="1"');
  });

  it('github-actions.yml: uploads the report that was written, and only after it', async () => {
    const { jobs, on } = await example('github-actions.yml');
    const steps = jobs.drill.steps as (Step & { with?: { path?: string } })[];
    const upload = steps.find((step) => step.uses?.startsWith('actions/upload-artifact'));
    expect(steps.find((step) => step.name === 'Drill')?.run).toContain(`--junit ${upload?.with?.path}`);
    expect(upload?.if).toBe('always()');
    expect(on.schedule).toHaveLength(1);
  });

  it('gitlab-ci.yml: its script passes, and the report is where the artifacts say', async () => {
    const at = await site();
    const app = await service(at);
    const { drill } = await example('gitlab-ci.yml');
    const dir = await tempDir();
    const run = await runner(at, dir, drill.variables);
    expect(await run(drill.script.join('\n'))).toBe(0);
    expect(await readFile(path.join(dir, drill.artifacts.reports.junit), 'utf8')).toContain(
      `volbak drill host-a/container/${app}`,
    );
    expect(await readFile(path.join(dir, drill.artifacts.paths[0]), 'utf8')).toContain(
      'Trial restores: passed',
    );
    await at.inside(at.name('v'), 'rm file');
    await at.ok('backup', app);
    expect(await run(drill.script.join('\n'))).toBe(41);
  });
});
