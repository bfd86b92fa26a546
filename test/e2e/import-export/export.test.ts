import { execFile } from 'node:child_process';
import { mkdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, test } from 'vitest';
import { cleanEnv, docker, engines, mountpoint } from '../../support/engine.ts';
import { makeDatabase, makeScene, type Scene, withVolumesOf } from '../../support/scene.ts';
import { tempDir } from '../../support/temp.ts';
import { hardTree, treeDifferences } from '../../support/trees.ts';
import { launcher, privateHomes, volbak, volbakOk } from '../../support/volbak.ts';

const run = (file: string, ...args: string[]) =>
  promisify(execFile)(file, args, { maxBuffer: 64 * 1024 * 1024 }).then(({ stdout }) => stdout);
let scene: Scene;
let data: string;
let conf: string;
let container: string;

beforeAll(async () => {
  scene = await makeScene(engines().a);
  const scripts = {
    data: `mkdir sub empty; echo hello >sub/file; head -c 1500000 /dev/urandom >big; ln big hard; ln -s sub/file soft; mkfifo pipe
     touch -d @1234567890 sub/file; chmod 640 big; chown 1000:2000 sub; chmod 2750 sub; : >"a name with spaces"`,
    conf: 'echo a=b >app.conf',
  };
  ({ data, conf, container } = await makeDatabase(scene, scripts));
  await volbakOk([...scene.options, 'backup', container]);
});

/** What the documentation's one-liner writes. */
async function documented(): Promise<string> {
  const dir = await tempDir();
  await withVolumesOf(
    scene,
    container,
    dir,
    'busybox',
    'tar',
    'cf',
    '/backup/backup.tar',
    '/dbdata',
    '/etc/conf',
  );
  return path.join(dir, 'backup.tar');
}

const names = async (tar: string, ...program: string[]) =>
  (await run(program[0] ?? 'tar', ...program.slice(1), 'tf', tar))
    .trim()
    .split('\n')
    .map((name) => name.replace(/\/$/, ''))
    .sort();

/** Unpacks with a program and compares: the trees of two archives must be the same. */
async function unpacked(tar: string, ...program: string[]): Promise<string> {
  const dir = await tempDir();
  await run(program[0] ?? 'tar', ...program.slice(1), 'xpf', tar, '-C', dir);
  return dir;
}

describe.each([
  ['--container', () => ['--container', container]],
  ['of a snapshot', () => [container]],
])('export %s', (_, what) => {
  test('holds the members and the content of `docker run --volumes-from … tar cf - /dbdata`', async () => {
    const file = path.join(await tempDir(), 'out.tar');
    await volbakOk([...scene.options, 'export', ...what(), '-o', file]);
    const reference = await documented();
    expect(await names(file)).toEqual(await names(reference));
    expect(await names(file)).toContain('dbdata/sub/file');
    // busybox leaves fractions of seconds away, so trees are compared as GNU tar unpacks whole seconds of both.
    const [ours, theirs] = [await unpacked(file), await unpacked(reference)];
    expect(
      await run('diff', '-r', '--no-dereference', path.join(ours, 'etc'), path.join(theirs, 'etc')),
    ).toBe('');
    const list = (dir: string) =>
      run(
        'sh',
        '-c',
        `cd ${dir}/dbdata && find . ! -type d -printf '%P %y %m %U:%G %n %s %l %Ts\\n' | sort && sha256sum big sub/file`,
      );
    expect(await list(ours)).toBe(await list(theirs));
    expect(await treeDifferences(path.join(ours, 'dbdata'), await mountpoint(scene.host, data))).toBe('');
  });

  test('can be read by busybox tar', async () => {
    const file = path.join(await tempDir(), 'out.tar');
    await volbakOk([...scene.options, 'export', ...what(), '-o', file]);
    expect(await names(file, 'busybox', 'tar')).toEqual(await names(file));
    const dir = await unpacked(file, 'busybox', 'tar');
    expect(await readFile(path.join(dir, 'dbdata/sub/file'), 'utf8')).toBe('hello\n');
    expect(await readFile(path.join(dir, 'dbdata/hard'))).toEqual(
      await readFile(path.join(dir, 'dbdata/big')),
    );
  });

  test('--volume takes one volume and leaves the prefix away', async () => {
    const file = path.join(await tempDir(), 'out.tar');
    await volbakOk([...scene.options, 'export', ...what(), '--volume', conf, '-o', file]);
    expect(await names(file)).toEqual(['.', './app.conf']);
  });

  test.each([
    ['backup.tar.gz', [], 'gzip'],
    ['backup.tgz', [], 'gzip'],
    ['backup.tar.zst', [], 'zstd'],
    ['anything', ['--format', 'tar.zst'], 'zstd'],
    ['anything', ['--format', 'tar.gz'], 'gzip'],
  ])('%s %j is %s', async (name, options, program) => {
    const file = path.join(await tempDir(), name);
    await volbakOk([...scene.options, 'export', ...what(), '-o', file, ...options]);
    await run(program, '-tq', '-c', file).catch(() => run(program, '-t', file));
    expect(await run('sh', '-c', `${program} -dc <${file} | tar -t`)).toContain('dbdata/sub/file\n');
  });

  test('to standard output, piped into tar', async () => {
    const env = { ...cleanEnv(), ...(await privateHomes()) };
    const line = `${launcher} ${[...scene.options, 'export', ...what()].join(' ')} | tar -t`;
    const { stdout } = await promisify(execFile)('bash', ['-o', 'pipefail', '-c', line], { env });
    expect(stdout.split('\n')).toContain('dbdata/big');
  });
});

test('the exported archive is restored by the documentation’s one-liner', async () => {
  const dir = await tempDir();
  await volbakOk([...scene.options, 'export', '--container', container, '-o', path.join(dir, 'backup.tar')]);
  const second = scene.name('dbstore2');
  const target = scene.name('data2');
  await docker(scene.host, 'create', '--name', second, '-v', `${target}:/dbdata`, 'busybox', 'true');
  const unpack = 'cd /dbdata && tar xf /backup/backup.tar --strip 1 dbdata';
  await withVolumesOf(scene, second, dir, 'toolbox', 'sh', '-c', unpack);
  expect(
    await treeDifferences(await mountpoint(scene.host, data), await mountpoint(scene.host, target), {
      withoutRoot: true,
    }),
  ).toBe('');
});

test('export and import of the hard tree give the same tree, live and from a snapshot', async () => {
  const hard = scene.name('hard');
  await docker(scene.host, 'volume', 'create', hard);
  await hardTree(await mountpoint(scene.host, hard));
  await volbakOk([...scene.options, 'backup', '--volume', hard]);
  for (const what of [
    ['--from-volume', hard],
    [hard, '--volume', hard],
  ]) {
    const file = path.join(await tempDir(), 'hard.tar.zst');
    const target = scene.name(`hard-${what.length}`);
    await volbakOk([...scene.options, 'export', ...what, '-o', file]);
    await volbakOk([...scene.options, 'import', file, '--to-volume', target]);
    expect(
      await treeDifferences(await mountpoint(scene.host, hard), await mountpoint(scene.host, target)),
    ).toBe('');
  }
});

test('an export that fails leaves the file as it was', async () => {
  const dir = await tempDir();
  await mkdir(path.join(dir, 'directory'));
  for (const output of ['directory', 'no/such/place'])
    expect(
      (await volbak([...scene.options, 'export', container, '-o', path.join(dir, output)])).exit,
    ).not.toBe(0);
  const missing = await volbak([
    ...scene.options,
    'export',
    '--container',
    scene.name('nobody'),
    '-o',
    path.join(dir, 'x'),
  ]);
  expect(missing.exit).toBe(21);
  expect((await run('ls', dir)).trim()).toBe('directory');
});
