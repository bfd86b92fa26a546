import { describe, expect, it } from 'vitest';
import { type RunningDaemon, startDaemon } from '../../support/daemon.ts';
import { docker } from '../../support/engine.ts';
import { ownEngine } from '../../support/own-engine.ts';
import { type Site, site } from '../../support/site.ts';
import { tempDir } from '../../support/temp.ts';
import { volbak, volbakOk } from '../../support/volbak.ts';

const EVERY_TWO_SECONDS = 'volbak.schedule=*/2 * * * * *';
const NOW_AND_THEN = 'volbak.schedule=0 0 1 1 *';

/** A container with a volume and labels, running. */
async function labelled(at: Site, suffix: string, ...labels: string[]): Promise<string> {
  const name = at.name(suffix);
  await at.docker(
    ...['run', '-d', '--network', 'none', '--stop-signal', 'KILL', '--name', name],
    ...labels.flatMap((label) => ['--label', label]),
    ...['-v', `${name}-data:/data`, 'toolbox', 'sh', '-c', 'echo one >/data/file; sleep 600'],
  );
  return name;
}

/** What a container of ours gets by: an engine and a repository, and no file. */
const environment = (at: Site, more: Record<string, string> = {}) => ({
  DOCKER_HOST: at.host,
  VOLBAK_REPO: at.repo,
  VOLBAK_HELPER_IMAGE: 'toolbox',
  ...more,
});

/** Only this test's containers: others of the engine belong to other people. */
const only = (at: Site, more = '') => ({
  VOLBAK_YAML: `labels: { filter: "site=${at.name()}", prune: "@weekly"${more} }`,
});
const mine = (at: Site) => `site=${at.name()}`;

async function end({ child, ended }: RunningDaemon): Promise<void> {
  child.kill('SIGTERM');
  expect(await ended).toMatchObject({ exit: 0 });
}

describe('labels of containers', () => {
  it('are enough, without any volbak.yaml: backed up, verified, forgotten; jobs come and go with containers', async () => {
    const at = await site();
    const cwd = await tempDir();
    const env = environment(at, only(at));
    const db = await labelled(
      at,
      'db',
      mine(at),
      'volbak.enable=true',
      EVERY_TWO_SECONDS,
      'volbak.stop=true',
      'volbak.verify=true',
      'volbak.keep-last=1',
    );
    const stranger = await labelled(at, 'stranger', 'volbak.enable=true', EVERY_TWO_SECONDS);
    const daemon = await startDaemon([], { env, cwd }, '--listen', '127.0.0.1:19188');
    await daemon.says(new RegExp(`^${db}:verify is done`));
    await daemon.says(new RegExp(`^${db}:forget is done`));

    const web = await labelled(at, 'web', mine(at), 'volbak.enable=true', NOW_AND_THEN, 'volbak.stpo=1');
    await daemon.says(
      new RegExp(`container ${web}: unknown label 'volbak.stpo'; did you mean 'volbak.stop'`),
    );
    await daemon.says(new RegExp(`labels: 1 job came \\(${web}:backup\\)`));
    const metrics = await (await fetch('http://127.0.0.1:19188/metrics')).text();
    expect(metrics).toMatch(/^volbak_label_problems 1$/m);
    expect(metrics).toContain(`volbak_job_next_run_timestamp_seconds{job="${web}:backup"}`);

    const shown = JSON.parse((await volbakOk(['schedule', '--json', '-n', '1'], { env, cwd })).stdout);
    expect(shown.map(({ job }: { job: string }) => job).sort()).toEqual(
      [`${db}:backup`, `${db}:forget`, `${db}:verify`, 'labels:prune', `${web}:backup`].sort(),
    );
    const checked = await volbak(['validate'], { env, cwd });
    expect(checked.exit).toBe(78);
    expect(checked.stderr).toContain(`container ${web}: unknown label`);
    await volbakOk(['run', `${web}:backup`], { env, cwd });

    await at.docker('rm', '-f', web);
    await daemon.says(new RegExp(`labels: 1 job went \\(${web}:backup\\)`));
    await end(daemon);
    const snapshots = JSON.parse((await volbakOk(['snapshots', '--json'], { env })).stdout);
    const sources = snapshots.map(({ source }: { source: string }) => source.split('/').at(-1));
    expect(new Set(sources)).toEqual(new Set([db, web]));
    expect(sources).not.toContain(stranger);
    expect(await at.docker('inspect', '-f', '{{.State.Running}}', db)).toBe('true');
  });

  it('a container that is made anew under its name keeps its state: no run is doubled or lost', async () => {
    const at = await site();
    const env = environment(at, only(at));
    const make = () => labelled(at, 'db', mine(at), 'volbak.enable=true', EVERY_TWO_SECONDS);
    const db = await make();
    const daemon = await startDaemon([], { env });
    for (let round = 1; round <= 3; round++) {
      await daemon.says(new RegExp(`^${db}:backup is done`), round);
      await at.docker('rm', '-f', db);
      await daemon.says(/labels: .*1 job went/, round);
      await make();
    }
    await daemon.says(new RegExp(`^${db}:backup is done`), 5);
    await end(daemon);
    const due = daemon.log.filter(({ msg, why }) => msg === `${db}:backup starts` && why !== 'interrupted');
    expect(new Set(due.map(({ due: at }) => at)).size).toBe(due.length);
  });

  it('live through the end of the engine: afterwards all are listed anew, those that came meanwhile, too', async () => {
    const engine = await ownEngine();
    const at = await site({ host: engine.host });
    const env = environment(at, only(at));
    const db = await labelled(at, 'db', mine(at), 'volbak.enable=true', EVERY_TWO_SECONDS);
    const daemon = await startDaemon([], { env });
    await daemon.says(new RegExp(`^${db}:backup is done`));
    for (const [round, signal] of (['SIGKILL', 'SIGTERM'] as const).entries()) {
      const again = await engine.end(signal);
      await daemon.says(/labels stay as they were last seen/, round + 1);
      await daemon.says(new RegExp(`^${db}:backup waits for its engine`), round + 1);
      await again();
      const other = await labelled(at, `c${round}`, mine(at), 'volbak.enable=true', EVERY_TWO_SECONDS);
      await daemon.says(/labels: the engine answers again/, round + 1);
      await daemon.says(new RegExp(`^${other}:backup is done`));
      const before = daemon.log.filter(({ msg }) => msg === `${db}:backup is done`).length;
      await daemon.says(new RegExp(`^${db}:backup is done`), before + 1);
    }
    await end(daemon);
    expect(daemon.log.filter(({ msg }) => / failed/.test(msg))).toEqual([]);
    await docker(engine.host, 'ps');
  });

  it('starts without the engine: what a label asked for while nothing ran is made up for', async () => {
    const at = await site();
    const db = await labelled(at, 'db', mine(at), 'volbak.enable=true', EVERY_TWO_SECONDS);
    const socket = `${await tempDir()}/docker.sock`;
    const env = environment(at, { ...only(at), DOCKER_HOST: `unix://${socket}` });
    const { symlink, unlink } = await import('node:fs/promises');
    await symlink(at.host.replace('unix://', ''), socket);
    const first = await startDaemon([], { env });
    await first.says(new RegExp(`^${db}:backup is done`));
    await end(first);
    await unlink(socket);
    const checked = await volbak(['validate'], { env });
    expect(checked).toMatchObject({ exit: 0, stdout: expect.stringContaining('VOLBAK_YAML is right') });
    expect(checked.stderr).toContain('labels of containers were not looked at');
    expect((await volbak(['run', `${db}:backup`], { env })).exit).toBe(20);
    const daemon = await startDaemon([], { env });
    await daemon.says(/labels stay as they were last seen/);
    await symlink(at.host.replace('unix://', ''), socket);
    await daemon.says(new RegExp(`^${db}:backup is done`));
    await end(daemon);
  });
});
