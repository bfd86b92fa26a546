import { execFile } from 'node:child_process';
import { readdirSync, readlinkSync } from 'node:fs';
import path from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { promisify } from 'node:util';
import { cleanupEngine, docker, engines, mountpoint } from './engine.ts';
import { afterwards, tempDir, uniqueName } from './temp.ts';
import {
  finished,
  type Json,
  spawnVolbak,
  type VolbakOptions,
  type VolbakResult,
  volbak,
  volbakOk,
} from './volbak.ts';

const run = promisify(execFile);

/** A test's own corner: names on an engine that nothing else has, an empty repository; all removed afterwards. */
export interface Site {
  host: string;
  repo: string;
  /** Global options of every call. */
  globals: string[];
  env: VolbakOptions['env'];
  /** A name of this site's own; without an argument their common beginning. */
  name(suffix?: string): string;
  docker(...args: string[]): Promise<string>;
  /** Runs volbak with --json on this site's engine and repository. */
  run(...args: string[]): Promise<VolbakResult>;
  /** The same; throws unless it exits with 0. Answers with its summary. */
  ok(...args: string[]): Promise<Json>;
  /** The same for commands that print one document. */
  document(...args: string[]): Promise<Json>;
  start(...args: string[]): ReturnType<typeof spawnVolbak>;
  /** Makes a volume and fills it with a bash script that runs in its directory, on this machine. */
  volume(suffix: string, script?: string, ...options: string[]): Promise<string>;
  /** Makes a container that is not started. */
  container(suffix: string, ...args: string[]): Promise<string>;
  /** Runs a bash script in a volume's directory, on this machine; answers with its output. */
  inside(volume: string, script: string): Promise<string>;
}

export interface SiteOptions {
  host?: string;
  repo?: string;
  globals?: string[];
  env?: VolbakOptions['env'];
}

export async function site(options: SiteOptions = {}): Promise<Site> {
  const host = options.host ?? engines().a;
  const prefix = uniqueName('t');
  afterwards(() => cleanupEngine(host, prefix));
  const repo = options.repo ?? path.join(await tempDir('volbak-repo-'), 'repo');
  const globals = ['-H', host, '--repo', repo, '--json', ...(options.globals ?? [])];
  const { env } = options;
  const extra = env === undefined ? {} : { env };
  const name = (suffix = '') => (suffix === '' ? prefix : `${prefix}-${suffix}`);
  const inside = async (volume: string, script: string) =>
    bash(script, { cwd: await mountpoint(host, volume) });
  return {
    host,
    repo,
    globals,
    env,
    name,
    inside,
    docker: (...args) => docker(host, ...args),
    run: (...args) => volbak([...globals, ...args], extra),
    ok: async (...args) => summary(await volbakOk([...globals, ...args], extra)),
    document: async (...args) => JSON.parse((await volbakOk([...globals, ...args], extra)).stdout),
    start: (...args) => spawnVolbak([...globals, ...args], extra),
    volume: async (suffix, script = '', ...args) => {
      await docker(host, 'volume', 'create', ...args, name(suffix));
      if (script !== '') await inside(name(suffix), script);
      return name(suffix);
    },
    container: async (suffix, ...args) => {
      await docker(host, 'create', '--network', 'none', '--name', name(suffix), ...args);
      return name(suffix);
    },
  };
}

/** Runs a bash script as root on this machine; its output without the last newline. */
export async function bash(
  script: string,
  options: { cwd?: string; env?: NodeJS.ProcessEnv } = {},
): Promise<string> {
  const { stdout } = await run('bash', ['-euo', 'pipefail', '-c', script], {
    ...options,
    maxBuffer: 256 * 1024 * 1024,
  });
  return stdout.replace(/\n$/, '');
}

/** The event that ends a command which did something. */
export function summary(result: VolbakResult): Json {
  const last = result.json.findLast((line) => line.event === 'summary');
  if (!last) throw new Error(`no summary; exit ${result.exit}\n${result.stderr}${result.stdout}`);
  return last;
}

/** The event that ends a command which failed. */
export function failure(result: VolbakResult): Json {
  const last = result.json.findLast((line) => line.event === 'error');
  if (!last) throw new Error(`no error; exit ${result.exit}\n${result.stderr}${result.stdout}`);
  return last;
}

/** Messages of all warnings of a command. */
export function warnings(result: VolbakResult): string[] {
  return result.json.filter((line) => line.event === 'warning').map((line) => line.message);
}

/** Everything about a directory that a write would change: equal, if nothing was touched. */
export function fingerprint(dir: string): Promise<string> {
  return bash(`find . -printf '%p %y %i %n %m %U:%G %s %T@ %C@ %l\\n' | sort`, { cwd: dir });
}

/** Waits until a helper of volbak's with this purpose runs, and answers with its id. */
export async function helperAtWork(host: string, purpose: string, timeout = 30_000): Promise<string> {
  const until = Date.now() + timeout;
  while (Date.now() < until) {
    const id = await docker(
      host,
      'ps',
      '-q',
      '--no-trunc',
      '--filter',
      `label=io.volbak.helper-run=${purpose}`,
    );
    if (id !== '') return id.split('\n')[0] as string;
  }
  throw new Error(`no helper for '${purpose}' within ${timeout} ms`);
}

/** Ids of all helpers on an engine, running or not. */
export function helpers(host: string): Promise<string> {
  return docker(host, 'ps', '-aq', '--filter', 'label=io.volbak.helper-run');
}

/**
 * Starts a backup and halts it (SIGSTOP) while the helper's tar has the file `open` of the volume open: tar waits as
 * soon as the lane is full. Does `meanwhile`, lets it go on, and answers with its end. The file must be large.
 */
export async function haltedWhileReading(
  at: Site,
  open: string,
  args: string[],
  meanwhile: (helper: string) => Promise<void>,
): Promise<VolbakResult> {
  const child = await at.start(...args);
  child.stdin.end();
  const end = finished(child);
  const early = end.then(({ exit, stdout }) => {
    throw new Error(`volbak ended before '${open}' was seen to be read: exit ${exit}\n${stdout}`);
  });
  const halted = (async () => {
    const helper = await helperAtWork(at.host, 'read');
    const pid = await at.docker('inspect', '-f', '{{.State.Pid}}', helper);
    while (child.exitCode === null && !isOpen(pid, open)) await setImmediate();
    child.kill('SIGSTOP');
    return helper;
  })();
  try {
    await meanwhile(await Promise.race([halted, early]));
  } finally {
    child.kill('SIGCONT');
  }
  return end;
}

function isOpen(pid: string, name: string): boolean {
  try {
    const dir = `/proc/${pid}/fd`;
    return readdirSync(dir).some((fd) => readlinkSync(`${dir}/${fd}`).endsWith(`/${name}`));
  } catch {
    return false;
  }
}
