import { execFile } from 'node:child_process';
import { chmod, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { beforeAll, expect, test } from 'vitest';
import { docker, engines, inVolume, mountpoint } from '../../support/engine.ts';
import {
  bigVolume,
  filesBelow,
  helpers,
  makeScene,
  manifests,
  type Scene,
  volumes,
} from '../../support/scene.ts';
import { afterwards, tempDir } from '../../support/temp.ts';
import { treeDifferences } from '../../support/trees.ts';
import { volbak, volbakOk } from '../../support/volbak.ts';

const run = promisify(execFile);
let scene: Scene;
let big: string;
let small: string;

beforeAll(async () => {
  scene = await makeScene(engines().a);
  big = await bigVolume(scene, 'big', 40);
  small = await bigVolume(scene, 'small', 1);
});

const at = (repository: string) => ['-H', scene.host, '--repo', repository];

/** A file system of its own for a repository. */
async function mount(options: string): Promise<string> {
  const directory = await tempDir();
  await run('mount', ['-t', 'tmpfs', '-o', options, 'tmpfs', directory]);
  afterwards(() => run('umount', [directory]));
  return directory;
}

test('a repository on a full disk: exit 32, nothing half visible, older snapshots whole, and it works once there is room', async () => {
  const place = await mount('size=20m');
  const repository = path.join(place, 'repo');
  await volbakOk([...at(repository), 'backup', '--volume', small]);
  const { exit, stderr } = await volbak([...at(repository), 'backup', '--volume', big]);
  expect(stderr).toMatch(/error: .*(full|no space|room)/i);
  expect(exit).toBe(32);
  expect(await manifests(repository)).toHaveLength(1);
  expect((await filesBelow(repository)).filter((file) => file.includes('.tmp-'))).toEqual([]);
  expect(await helpers(scene.host)).toEqual([]);
  await volbakOk([...at(repository), 'verify']);

  await run('mount', ['-o', 'remount,size=200m', place]);
  await volbakOk([...at(repository), 'backup', '--volume', big]);
  await volbakOk([...at(repository), 'verify']);
  expect(await manifests(repository)).toHaveLength(2);
});

test('a target volume that fills up: a clear error with a hint, the volume is removed or empty again', async () => {
  await volbakOk([...scene.options, 'backup', '--volume', big]);
  const target = scene.name('tiny');
  await docker(
    scene.host,
    'volume',
    'create',
    '--opt',
    'type=tmpfs',
    '--opt',
    'device=tmpfs',
    '--opt',
    'o=size=10m',
    target,
  );
  const { exit, stderr } = await volbak([...scene.options, 'restore', big, '--to-volume', target]);
  expect(stderr).toMatch(/room|space/);
  expect(stderr).toContain('hint: ');
  expect(exit).toBe(22);

  // A tar whose size nobody knows beforehand fills it for real.
  const archive = path.join(await tempDir(), 'big.tar.zst');
  await volbakOk([...scene.options, 'export', big, '-o', archive]);
  const full = await volbak([...scene.options, 'import', archive, '--to-volume', target]);
  expect(full.stderr).toMatch(/No space left on device|Wrote only/);
  expect(full.stderr).toContain('hint: Make room');
  expect(full.exit).toBe(22);
  expect(await inVolume(scene.host, target, 'ls -A')).toBe('');
  expect(await helpers(scene.host)).toEqual([]);
});

test('a read-only place for a repository: exit 30 for a new one; one that is there can be listed and restored from', async () => {
  const place = await mount('size=50m');
  const repository = path.join(place, 'repo');
  await volbakOk([...at(repository), 'backup', '--volume', small]);
  await run('mount', ['-o', 'remount,ro', place]);
  const fresh = await volbak([...at(path.join(place, 'other')), 'backup', '--volume', small]);
  expect(fresh.stderr).toMatch(/error: .*read-only/i);
  expect(fresh.exit).toBe(30);
  const backup = await volbak([...at(repository), 'backup', '--volume', small]);
  expect(backup.stderr).toMatch(/error: .*read-only/i);
  expect(backup.exit).toBe(30);
  expect(JSON.parse((await volbakOk([...at(repository), 'snapshots', '--json'])).stdout)).toHaveLength(1);
  const target = scene.name('from-read-only');
  await volbakOk([...at(repository), 'restore', small, '--to-volume', target, '--verify']);
  expect(
    await treeDifferences(await mountpoint(scene.host, small), await mountpoint(scene.host, target)),
  ).toBe('');
});

test('a place where nothing can be made: an error, not a hang', async () => {
  const { exit, stderr } = await volbak([...at('/proc/volbak/repo'), 'backup', '--volume', small], {
    timeout: 20_000,
  });
  expect(stderr).toContain('error: ');
  expect([30, 31]).toContain(exit);
});

test('a file in the place of a repository is named and refused', async () => {
  const file = path.join(await tempDir(), 'file');
  await writeFile(file, 'mine');
  const { exit, stderr } = await volbak([...at(file), 'backup', '--volume', small]);
  expect(stderr).toContain(file);
  expect([10, 30]).toContain(exit);
  expect(await readFile(file, 'utf8')).toBe('mine');
});

test('a directory that holds something else is refused with exit 10 and left as it was', async () => {
  const directory = await tempDir();
  await writeFile(path.join(directory, 'letter'), 'mine');
  for (const command of [['backup', '--volume', small], ['init'], ['snapshots'], ['verify']]) {
    const { exit, stderr } = await volbak([...at(directory), ...command]);
    expect(stderr, command[0]).toContain(directory);
    expect(exit, command[0]).toBe(10);
  }
  expect(await readdir(directory)).toEqual(['letter']);
});

test('a user who may not read the repository is told so', async () => {
  const repository = path.join(await tempDir(), 'repo');
  await volbakOk([...at(repository), 'backup', '--volume', small]);
  await mkdir(path.join(repository, '..', 'home'), { mode: 0o777 });
  await chmod(path.dirname(repository), 0o755);
  await chmod(repository, 0o700);
  const launcher = path.join(import.meta.dirname, '../../../dist/main.js');
  const env = { PATH: process.env.PATH ?? '', HOME: '/nonexistent' };
  const args = [
    '--reuid=65534',
    '--regid=65534',
    '--clear-groups',
    process.execPath,
    launcher,
    '--repo',
    repository,
    'snapshots',
  ];
  const error = await run('setpriv', args, { env }).then(
    () => undefined,
    (e: { code: number; stderr: string }) => e,
  );
  expect(error?.stderr).toMatch(/error: .*(permission|denied)/i);
  expect(error?.code).toBe(30);
});

test('a damaged manifest of one snapshot stops neither the listing nor the backup of others', async () => {
  const repository = path.join(await tempDir(), 'repo');
  for (const volume of [small, small, big]) await volbakOk([...at(repository), 'backup', '--volume', volume]);
  const first = (await manifests(repository)).find((name) => name.includes(small)) ?? '';
  const file = path.join(repository, 'snapshots', first);
  const id = /\d{8}T\d{6}Z-[0-9a-f]{6}/.exec(first)?.[0] ?? '';
  for (const damage of ['', '{"format":1', Buffer.from((await readFile(file)).subarray(0, 40)), '{}']) {
    await rm(file);
    await writeFile(file, damage);
    const listed = await volbakOk([...at(repository), 'snapshots', '--json']);
    expect(JSON.parse(listed.stdout)).toHaveLength(2);
    expect(listed.stderr).toContain(id);
    const checked = await volbak([...at(repository), 'verify']);
    expect(checked.exit).toBe(40);
    expect(checked.stdout).toContain(id);
  }
  await volbakOk([...at(repository), 'backup', '--volume', small]);
  await volbakOk([...at(repository), 'restore', big, '--to-volume', scene.name('beside')]);
  expect(await volumes(scene.host, scene.name('beside'))).toHaveLength(1);
});
