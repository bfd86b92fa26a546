import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { docker, engines, inVolume } from '../../support/engine.ts';
import {
  bigVolume,
  expectNothingLeft,
  helpers,
  makeScene,
  type Scene,
  start,
  volumes,
} from '../../support/scene.ts';
import { tempDir } from '../../support/temp.ts';
import { privateHomes, volbak, volbakOk } from '../../support/volbak.ts';

let scene: Scene;
let volume: string;
let container: string;
let archive: string;

beforeAll(async () => {
  scene = await makeScene(engines().a);
  volume = await bigVolume(scene, 'big', 300);
  container = scene.name('app');
  await docker(
    scene.host,
    'run',
    '-d',
    '--init',
    '--network',
    'none',
    '--name',
    container,
    '-v',
    `${volume}:/data`,
    'busybox',
    'sleep',
    '100000',
  );
  archive = path.join(await tempDir(), 'big.tar');
  await volbakOk([...scene.options, 'backup', container]);
  await volbakOk([...scene.options, 'export', container, '-o', archive]);
});

const stateOf = (name: string) => docker(scene.host, 'inspect', '-f', '{{.State.Status}}', name);

describe.each([
  ['SIGINT', 130, 'INTERRUPTED'],
  ['SIGTERM', 143, 'TERMINATED'],
] as const)('%s', (signal, code, name) => {
  const interrupt = async (args: string[]) => {
    const running = await start([...scene.options, ...args]);
    await running.event((e) => e.event === 'progress');
    const begun = performance.now();
    running.child.kill(signal);
    const { exit, json } = await running.end();
    const seconds = (performance.now() - begun) / 1000;
    expect(json.at(-1)).toMatchObject({ event: 'error', code: name, exit: code });
    expect(exit).toBe(code);
    expect(seconds).toBeLessThan(8);
    await expectNothingLeft(scene, running, 1);
  };

  test.each(['--stop', '--pause'])(
    'in the middle of backup %s: no manifest, no helper, and the container runs again',
    async (quiesce) => {
      await interrupt(['backup', container, '--full', quiesce]);
      expect(await stateOf(container)).toBe('running');
    },
  );

  test.each(['pipe', 'attach'])(
    'in the middle of a restore (%s): the volume it made is gone',
    async (lane) => {
      const target = scene.name('restored');
      await interrupt(['--lane', lane, 'restore', container, '--to-volume', target]);
      expect(await volumes(scene.host, target)).toEqual([]);
    },
  );

  test('in the middle of export: no file, whole or half', async () => {
    const directory = await tempDir();
    await interrupt(['export', '--container', container, '-o', path.join(directory, 'out.tar')]);
    expect(await readdir(directory)).toEqual([]);
    await interrupt(['export', container, '-o', path.join(directory, 'out.tar')]);
    expect(await readdir(directory)).toEqual([]);
  });

  test('in the middle of import: the volume it made is gone', async () => {
    const target = scene.name('imported');
    await interrupt(['import', archive, '--to-volume', target]);
    expect(await volumes(scene.host, target)).toEqual([]);
  });

  test('in the middle of a restore over old content: the old content is as it was', async () => {
    const target = scene.name('old');
    await inVolume(scene.host, target, 'echo old >old');
    await interrupt(['restore', container, '--to-volume', target, '--on-conflict', 'replace']);
    const left = await inVolume(scene.host, target, 'ls -A; cat old', 'busybox');
    expect(left).toBe('old\nold');
    await docker(scene.host, 'volume', 'rm', target);
  });
});

test('a second SIGINT ends at once', async () => {
  const running = await start([...scene.options, 'backup', container, '--full', '--stop']);
  await running.event((e) => e.event === 'progress');
  running.child.kill('SIGINT');
  await new Promise((resolve) => setTimeout(resolve, 20));
  const begun = performance.now();
  running.child.kill('SIGINT');
  const { exit } = await running.end();
  expect(exit).toBe(130);
  expect(performance.now() - begun).toBeLessThan(1000);
  // What it had no time for, the next command does.
  await volbak([...scene.options, 'doctor']);
  expect(await helpers(scene.host)).toEqual([]);
  expect(await stateOf(container)).toBe('running');
});

test.each(['--stop', '--pause'])(
  'kill -9 during backup %s: the next command starts the container again and removes the helper',
  async (quiesce) => {
    const running = await start([...scene.options, 'backup', container, '--full', quiesce]);
    await running.event((e) => e.event === 'progress');
    running.child.kill('SIGKILL');
    await running.end();
    expect(await stateOf(container)).toBe(quiesce === '--stop' ? 'exited' : 'paused');
    expect(await helpers(scene.host)).toHaveLength(1);
    const { XDG_STATE_HOME: state = '' } = await privateHomes();
    expect(await readdir(path.join(state, 'volbak/quiesced'))).toHaveLength(1);

    const { stderr } = await volbakOk([...scene.options, 'backup', '--volume', volume, '--dry-run']);
    expect(stderr).toContain(`an earlier run was killed: started again: ${container}`);
    expect(stderr).toContain('an earlier run was killed: removed 1 helper container');
    expect(await stateOf(container)).toBe('running');
    expect(await helpers(scene.host)).toEqual([]);
    expect(await readdir(path.join(state, 'volbak/quiesced'))).toEqual([]);
  },
);
