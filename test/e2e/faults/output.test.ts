import { execFile } from 'node:child_process';
import { beforeAll, expect, test } from 'vitest';
import { cleanEnv } from '../../support/engine.ts';
import { helpers, type Scene, savedScene } from '../../support/scene.ts';
import { launcher, privateHomes } from '../../support/volbak.ts';

let scene: Scene;
let volume: string;

beforeAll(async () => {
  const many = 'mkdir d; for n in $(seq 5000); do : >d/a-file-with-a-rather-long-name-$n; done';
  ({ scene, volume } = await savedScene(`${many}; head -c 5M /dev/urandom >r`));
});

/** A shell line in which $V is volbak with its global options. */
async function shell(line: string): Promise<{ exit: number; stdout: string; stderr: string }> {
  const env = {
    ...cleanEnv(),
    ...(await privateHomes()),
    V: [launcher, ...scene.options].join(' '),
    N: volume,
  };
  return new Promise((resolve) => {
    execFile('bash', ['-o', 'pipefail', '-c', line], { env, timeout: 60_000 }, (error, stdout, stderr) =>
      resolve({ exit: typeof error?.code === 'number' ? error.code : error ? 255 : 0, stdout, stderr }),
    );
  });
}

test('`volbak ls | head -1` is quiet', async () => {
  const { exit, stdout, stderr } = await shell('$V ls $N | head -1');
  expect(stdout.split('\n')).toHaveLength(2);
  expect(stderr).toBe('');
  expect(exit).toBe(141); // 128 + SIGPIPE, as of any program; without pipefail it is 0
});

test('`volbak export | head -c 1` ends soon, and no helper is left', async () => {
  for (const what of ['$N', '--from-volume $N']) {
    const { stderr } = await shell(`$V -q export ${what} | head -c 1 >/dev/null`);
    expect(stderr).not.toContain('    at ');
    expect(await helpers(scene.host)).toEqual([]);
  }
});

test.each([
  'ls $N',
  'snapshots',
  'snapshots --json',
  'export $N',
  'export --from-volume $N',
  '--version',
  '--help',
  'backup --volume $N',
])('standard output on a full disk is a failure: volbak %s', async (command) => {
  const { exit, stderr } = await shell(`$V ${command} >/dev/full`);
  expect(exit).not.toBe(0);
  expect(stderr).toMatch(/error: .*(no space|ENOSPC|output)/i);
  expect(stderr).not.toContain('    at ');
  expect(await helpers(scene.host)).toEqual([]);
});
