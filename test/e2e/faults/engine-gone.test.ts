import { execFile, spawn } from 'node:child_process';
import { openSync } from 'node:fs';
import { mkdtemp, readFile, readlink, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, test } from 'vitest';
import { docker, dockerOk, inVolume } from '../../support/engine.ts';
import {
  bigVolume,
  eventually,
  helpers,
  makeScene,
  manifests,
  type Scene,
  start,
  volumes,
} from '../../support/scene.ts';
import { afterwards } from '../../support/temp.ts';
import { projectRoot, volbakOk } from '../../support/volbak.ts';

const run = promisify(execFile);
const script = (name: string) => path.join(projectRoot, 'test/support', name);
let dir: string;
let scene: Scene;
let volume: string;

// An engine of its own: it is ended in the middle of things.
beforeAll(async () => {
  dir = await mkdtemp(path.join(process.env.VOLBAK_TEST_DIR || tmpdir(), 'volbak-e2e-'));
  afterwards(async () => {
    await run(script('engines.sh'), ['stop', dir]);
    await rm(dir, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
  });
  const { stdout } = await run(script('engines.sh'), ['start', dir]);
  const host = stdout.split('\n')[0] as string;
  const cache = process.env.VOLBAK_TEST_IMAGE_CACHE || path.join(projectRoot, '.cache/images');
  await run(script('images.sh'), [host, 'toolbox'], {
    env: { ...process.env, VOLBAK_TEST_IMAGE_CACHE: cache },
  });
  scene = await makeScene(host);
  scene.options.push('--helper-image', 'toolbox');
  volume = await bigVolume(scene, 'big', 300);
  await volbakOk([...scene.options, 'backup', '--volume', volume]);
});

/**
 * Ends dockerd; answers with what starts it again. SIGKILL leaves processes of containers behind, in its name spaces:
 * there the next one must start, so that engines.sh finds all of them at the end.
 */
async function end(signal: 'SIGKILL' | 'SIGTERM'): Promise<() => Promise<void>> {
  const pid = Number(await readFile(path.join(dir, 'a/pid'), 'utf8'));
  const args = (await readFile(`/proc/${pid}/cmdline`, 'utf8')).split('\0').slice(0, -1);
  const keeper = spawn('nsenter', ['-t', String(pid), '-m', '-u', 'sleep', '600'], { stdio: 'ignore' });
  await eventually('a process in the name spaces', async () => {
    const link = (id: number | undefined) => readlink(`/proc/${id}/ns/mnt`).catch(() => undefined);
    return (await link(keeper.pid)) === (await link(pid));
  });
  process.kill(pid, signal);
  return async () => {
    await eventually('the end of dockerd', async () => {
      const state = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
      return state === '' || / Z /.test(state);
    });
    // Where nobody reaps orphans, the killed ones would look alive.
    for (const file of ['a/pid', 'a/exec/containerd/containerd.pid'])
      await rm(path.join(dir, file), { force: true });
    const log = openSync(path.join(dir, 'a/log'), 'a');
    const again = ['-t', String(keeper.pid), '-m', '-u', ...args];
    spawn('nsenter', again, { detached: true, stdio: ['ignore', log, log] }).unref();
    await eventually('the engine', () => dockerOk(scene.host, 'version'));
    keeper.kill('SIGKILL');
  };
}

describe.each(['SIGTERM', 'SIGKILL'] as const)('the engine ended by %s in the middle', (signal) => {
  test.each([
    ['backup', 'pipe'],
    ['backup', 'attach'],
    ['restore', 'pipe'],
    ['replace', 'pipe'],
  ])(
    'of a %s (%s): a clear error within 30 s, and the next command sweeps what is left',
    async (what, lane) => {
      const target = scene.name('restored');
      const args =
        what === 'backup'
          ? ['backup', '--volume', volume, '--full']
          : ['restore', volume, '--to-volume', target, '--on-conflict', 'replace'];
      if (what === 'replace') await inVolume(scene.host, target, 'echo old >old');
      const running = await start([...scene.options, '--lane', lane, ...args]);
      await running.event((e) => e.event === 'progress');
      const again = await end(signal);
      const { exit, json, stderr } = await running.end(30_000);
      await again();
      expect([20, 22], `${JSON.stringify(json)} ${stderr}`).toContain(exit);
      expect(json.at(-1).event).toBe('error');
      expect(json.at(-1).message).toMatch(/engine|helper/);
      expect(await manifests(scene.repository)).toHaveLength(1);

      await volbakOk([...scene.options, 'backup', '--volume', volume, '--dry-run']);
      expect(await helpers(scene.host)).toEqual([]);
      if (what !== 'replace') {
        expect(await volumes(scene.host, target)).toEqual([]);
        return;
      }
      expect(await inVolume(scene.host, target, 'ls -A; cat old')).toBe('old\nold');
      await docker(scene.host, 'volume', 'rm', target);
    },
  );
});
