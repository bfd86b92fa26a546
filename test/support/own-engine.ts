import { execFile, spawn } from 'node:child_process';
import { openSync } from 'node:fs';
import { mkdtemp, readFile, readlink, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { dockerOk } from './engine.ts';
import { eventually } from './scene.ts';
import { afterwards } from './temp.ts';
import { projectRoot } from './volbak.ts';

const run = promisify(execFile);
const script = (name: string) => path.join(projectRoot, 'test/support', name);

/** An engine that a test may end in the middle of things. */
export interface OwnEngine {
  host: string;
  /** Ends dockerd; answers with what starts it again. */
  end(signal: 'SIGKILL' | 'SIGTERM'): Promise<() => Promise<void>>;
}

/** Starts one with the toolbox image; it ends after the test, or, made in beforeAll, after the file. */
export async function ownEngine(): Promise<OwnEngine> {
  const dir = await mkdtemp(path.join(process.env.VOLBAK_TEST_DIR || tmpdir(), 'volbak-e2e-'));
  afterwards(async () => {
    await run(script('engines.sh'), ['stop', dir]);
    await rm(dir, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
  });
  const { stdout } = await run(script('engines.sh'), ['start', dir, 'a']);
  const host = stdout.split('\n')[0] as string;
  const cache = process.env.VOLBAK_TEST_IMAGE_CACHE || path.join(projectRoot, '.cache/images');
  await run(script('images.sh'), [host, 'toolbox'], {
    env: { ...process.env, VOLBAK_TEST_IMAGE_CACHE: cache },
  });
  return { host, end: (signal) => end(dir, host, signal) };
}

/**
 * SIGKILL leaves processes of containers behind, in its name spaces: there the next one must start, so that engines.sh finds
 * all of them at the end.
 */
async function end(dir: string, host: string, signal: 'SIGKILL' | 'SIGTERM'): Promise<() => Promise<void>> {
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
    await eventually('the engine', () => dockerOk(host, 'version'));
    keeper.kill('SIGKILL');
  };
}
