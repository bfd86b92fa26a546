import { beforeAll, describe, expect, it } from 'vitest';
import { containersOf, requireVolbakImage, VOLBAK_IMAGE } from '../../support/container.ts';
import { derivedImage } from '../../support/databases.ts';
import { docker, dockerTry, engines } from '../../support/engine.ts';
import { eventually } from '../../support/scene.ts';
import { bash, helperAtWork, helpers, type Site, site } from '../../support/site.ts';
import { socketProxy } from '../../support/socket-proxy.ts';
import { tempDir } from '../../support/temp.ts';
import { finished, spawnVolbak, volbak } from '../../support/volbak.ts';

beforeAll(async () => {
  await requireVolbakImage(engines().a);
  // The helper image must be volbak's own, not one that an earlier test built.
  const built = await docker(engines().a, 'image', 'ls', '-q', 'volbak-helper');
  if (built !== '') await dockerTry(engines().a, 'image', 'rm', '-f', ...built.split('\n'));
});

async function database(
  at: Site,
  script = 'echo one >file; chown 4711:4712 file',
  image = 'toolbox',
): Promise<string> {
  const volume = await at.volume('data', script);
  const name = at.name('db');
  const options = ['--network', 'none', '--stop-signal', 'KILL', '--name', name, '-v', `${volume}:/data`];
  await at.docker('run', '-d', ...options, image, 'sleep', '600');
  return name;
}

/** All that `recover` says where it had nothing to do. */
const summaryAlone = expect.stringMatching(/^\{"event":"summary","command":"recover"[^\n]*\}\n$/);

/** A database that writes into a large file all the time: it is stopped for as long as that is read again. */
async function writer(at: Site) {
  const volume = await at.volume('data', 'head -c 600000000 /dev/urandom >big');
  const db = at.name('db');
  const write = 'while sleep 0.1; do echo x >>/data/big; done';
  const options = ['--network', 'none', '--stop-signal', 'KILL', '--name', db, '-v', `${volume}:/data`];
  await at.docker('run', '-d', ...options, 'toolbox', 'sh', '-c', write);
  const state = () => at.docker('inspect', '-f', '{{.State.Status}}', db);
  const isStopped = () =>
    eventually('the container is stopped', async () => (await state()) === 'exited', 60);
  return { db, state, isStopped };
}

describe('volbak in a container', () => {
  it('is not root, has no tools of its makers, and its image brings no volumes and no health check', async () => {
    const { a } = engines();
    const config = JSON.parse(await docker(a, 'image', 'inspect', '-f', '{{json .Config}}', VOLBAK_IMAGE));
    expect(config).toMatchObject({ User: '1000:1000' });
    expect(config.Volumes ?? {}).toEqual({});
    expect(config.Healthcheck).toBeUndefined();
    const look = 'id -u; ls /opt/volbak /opt/volbak/node_modules';
    const shell = ['run', '--rm', '--network', 'none', '--entrypoint', 'sh', VOLBAK_IMAGE, '-c', look];
    const [user, ...files] = (await docker(a, ...shell)).split('\n');
    expect(user).toBe('1000');
    expect(files).toEqual(expect.arrayContaining(['dist', 'recipes', 'dockerode', 'yaml']));
    for (const name of ['src', 'test', 'typescript', 'vitest', 'node']) expect(files).not.toContain(name);
    const size = await docker(a, ...shell.slice(0, -1), 'du -sm /opt/volbak');
    expect(Number.parseInt(size, 10)).toBeLessThan(100);
  });

  it('backs up, restores with a proven digest, and examines itself; helpers are of its own image', async () => {
    const at = await site();
    const db = await database(at);
    const { ok, run } = await containersOf(at);
    const { snapshots } = await ok('backup', db, '--pause');
    expect(snapshots).toMatchObject([{ source: `host-a/container/${db}`, status: 'complete' }]);
    const restored = await ok('restore', db, '--to-volume', at.name('copy'), '--verify');
    expect(restored.volumes[0].digest).toBe(snapshots[0].volumes[0].digest);
    expect(await at.inside(at.name('copy'), 'cat file; stat -c %u:%g file')).toBe('one\n4711:4712');
    const { exit, stdout } = await run('doctor');
    expect(exit).toBe(0);
    const checks: { name: string; state: string; detail: string }[] = JSON.parse(stdout);
    expect(checks.filter(({ state }) => state !== 'ok')).toEqual([]);
    expect(checks.find(({ name }) => name === 'helper image')?.detail).toContain(VOLBAK_IMAGE);
    expect(await at.docker('image', 'ls', '-q', 'volbak-helper')).toBe('');
    expect(await helpers(at.host)).toBe('');
  });

  it('with a directory that is the same outside, data come the fast way', async () => {
    const at = await site();
    const { options } = await containersOf(at);
    const dir = await tempDir();
    await bash(`chown 1000 '${dir}'`);
    const lane = ['--volume', `${dir}:${dir}`, '--env', `TMPDIR=${dir}`];
    const doctor = await at.docker('run', '--rm', ...options, ...lane, VOLBAK_IMAGE, 'doctor');
    expect(doctor).toMatch(/^ok +lane +pipe/m);
  });

  it('can build the helper image of its own tools', async () => {
    const at = await site();
    const { run } = await containersOf(at);
    const { exit, stdout } = await run('helper', 'build');
    expect(exit).toBe(0);
    const { image } = JSON.parse(stdout);
    expect(image).toMatch(/^volbak-helper:/);
    expect((await run('helper', 'show')).exit).toBe(0);
    await at.docker('image', 'rm', image);
  });

  it('--all leaves out volbak itself, and with it its repository', async () => {
    const at = await site();
    await database(at);
    const { ok, start } = await containersOf(at);
    await start('other', 'completion', 'bash');
    const { plan } = await ok('backup', '--all', '--dry-run');
    const sources = plan.map(({ source }: { source: string }) => source);
    expect(sources).toContain(`host-a/container/${at.name('db')}`);
    expect(sources).not.toContain(`host-a/container/${at.name('other')}`);
  });

  it('--stop and --pause leave volbak itself running where it has the same volume', async () => {
    const at = await site();
    const db = await database(at);
    const { options, run } = await containersOf(at);
    const same = ['--volume', `${at.name('data')}:/same:ro`];
    for (const mode of ['--stop', '--pause'])
      await at.docker('run', '--rm', ...options, ...same, VOLBAK_IMAGE, 'backup', db, mode);
    expect(JSON.parse((await run('snapshots')).stdout)).toHaveLength(2);
    expect(await at.docker('inspect', '-f', '{{.State.Status}}', db)).toBe('running');
  });

  it('killed in the middle of a backup with --stop: a new container starts what was stopped, and removes the helper', async () => {
    const at = await site();
    const { db, state, isStopped } = await writer(at);
    const { run, start } = await containersOf(at);
    const first = await start('first', 'backup', db, '--stop');
    await isStopped();
    await at.docker('kill', first);
    expect(await state()).toBe('exited');
    const { exit, json, stdout } = await run('recover');
    expect(exit, stdout).toBe(0);
    expect(await state()).toBe('running');
    expect(await helpers(at.host)).toBe('');
    const told = json.filter(({ event }) => event === 'warning').map(({ message }) => message);
    expect(told.join()).toContain(`started again: ${db}`);
  });

  it('beside another one at work: what that stopped is not started, and its helpers are left alone', async () => {
    const at = await site();
    const { db, state, isStopped } = await writer(at);
    const { run, start } = await containersOf(at);
    const first = await start('first', 'backup', db, '--stop');
    const helper = await helperAtWork(at.host, 'read');
    // One in a container, and one on the machine itself, which cannot see the processes of containers.
    const both = async () => [await run('recover'), await volbak(at.globals.concat('recover'))];
    for (const { exit, stdout } of await both()) expect([exit, stdout]).toEqual([0, summaryAlone]);
    expect(await at.docker('ps', '-aq', '--no-trunc', '--filter', `id=${helper}`)).toBe(helper);
    await isStopped();
    for (const { exit, stdout } of await both()) expect([exit, stdout]).toEqual([0, summaryAlone]);
    expect(await at.docker('wait', first)).toBe('0');
    expect(await state()).toBe('running');
  });
});

describe('through a proxy before the socket', () => {
  /** What docs/how-to/run-in-a-container.md says. */
  const SECTIONS = ['version', 'info', 'containers', 'images', 'volumes', 'exec', 'events'];

  it('the sections of the API that the page names are enough, and each is needed', async () => {
    const at = await site();
    const sleeper = await derivedImage(at, 'toolbox', {}, ['CMD ["sleep", "600"]']);
    const db = await database(at, 'echo one >file', sleeper);
    const { url, asked } = await socketProxy(at.host, SECTIONS);
    const through = (...args: string[]) => volbak(['-H', url, '--repo', at.repo, '--json', ...args]);
    const expectOk = async (...args: string[]) => {
      const { exit, stdout, stderr } = await through(...args);
      expect(exit, `${args}\n${stderr}${stdout}`).toBe(0);
    };
    await expectOk('helper', 'build');
    await expectOk('backup', db, '--pause');
    await expectOk('backup', db, '--stop');
    await expectOk('restore', db, '--to-volume', at.name('copy'), '--verify');
    await expectOk('handle', db, '--recipe', 'file-count');
    await expectOk('drill', db, '--check', 'test -f /data/file');
    await expectOk('doctor');
    const labels = { VOLBAK_YAML: 'labels: { filter: none }', DOCKER_HOST: url };
    const daemon = await spawnVolbak(['daemon'], { env: labels });
    const end = finished(daemon);
    await eventually('it follows labels', async () => asked.has('GET /events'));
    daemon.kill('SIGTERM');
    expect((await end).exit).toBe(0);
    expect([...asked].filter((request) => request.startsWith('403'))).toEqual([]);
    const sections = new Set([...asked].map((request) => request.split('/')[1]));
    expect([...sections].sort()).toEqual([...SECTIONS].sort());
  });

  it('one that lets nothing be written ends a backup with a clear error, and the engine as it was', async () => {
    const at = await site();
    const db = await database(at);
    const { url } = await socketProxy(at.host, SECTIONS, { post: false });
    const { exit, json } = await volbak(['-H', url, '--repo', at.repo, '--json', 'backup', db]);
    expect(exit).toBe(22);
    expect(json.at(-1)).toMatchObject({ event: 'error', message: expect.stringMatching(/403|Forbidden/) });
    expect(await helpers(at.host)).toBe('');
  });
});
