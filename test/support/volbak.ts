import { type ChildProcess, spawn } from 'node:child_process';
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { TestRunner } from 'vitest';
import { cleanEnv } from './engine.ts';
import { tempDir } from './temp.ts';

export const projectRoot = path.resolve(import.meta.dirname, '../..');
export const launcher = path.join(projectRoot, 'bin/volbak');

// biome-ignore lint/suspicious/noExplicitAny: tests look into whatever was printed
export type Json = any;

export interface VolbakOptions {
  /** Added to the environment; `undefined` takes a variable away. */
  env?: Record<string, string | undefined>;
  /** Given on stdin, which is closed after it. */
  input?: string | Uint8Array;
  cwd?: string;
  /** Milliseconds, after which the process is killed and the call fails. 120 s unless told. */
  timeout?: number;
}

export interface VolbakResult {
  /** Exit code; of a process that a signal ended: 128 + 15 for SIGTERM, and so on, as a shell tells it. */
  exit: number;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
  stdoutBytes: Buffer;
  /** The lines of stdout that are JSON, parsed. */
  json: Json[];
}

const signalNumbers: Partial<Record<NodeJS.Signals, number>> = {
  SIGHUP: 1,
  SIGINT: 2,
  SIGKILL: 9,
  SIGTERM: 15,
};
const homes = new WeakMap<object, Promise<Record<string, string>>>();
const outsideOfTests = {};

async function makeHomes(): Promise<Record<string, string>> {
  const home = await tempDir('volbak-home-');
  const variables = {
    XDG_CONFIG_HOME: 'config',
    XDG_DATA_HOME: 'data',
    XDG_STATE_HOME: 'state',
    XDG_CACHE_HOME: 'cache',
  };
  const entries = Object.entries(variables).map(([name, part]) => [name, path.join(home, part)] as const);
  for (const [, dir] of entries) await mkdir(dir, { mode: 0o700 });
  return Object.fromEntries(entries);
}

/** The current test's own XDG directories: the same for each call in one test (all of beforeAll counts as one test). */
export function privateHomes(): Promise<Record<string, string>> {
  const owner = TestRunner.getCurrentTest() ?? outsideOfTests;
  let made = homes.get(owner);
  if (!made) {
    made = makeHomes();
    homes.set(owner, made);
  }
  return made;
}

/** Starts ./bin/volbak and leaves it running; for tests that kill it. stdin, stdout and stderr are pipes. */
export async function spawnVolbak(
  args: readonly string[],
  options: Pick<VolbakOptions, 'env' | 'cwd'> = {},
): Promise<ChildProcess & { stdin: NonNullable<ChildProcess['stdin']> }> {
  const env = { ...cleanEnv(), ...(await privateHomes()), ...options.env };
  return spawn(launcher, args, { cwd: options.cwd, env, stdio: ['pipe', 'pipe', 'pipe'] });
}

/** Waits for a process's end and collects what it prints. */
export async function finished(child: ChildProcess, timeout = 120_000): Promise<VolbakResult> {
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  child.stdout?.on('data', (chunk: Buffer) => stdout.push(chunk));
  child.stderr?.on('data', (chunk: Buffer) => stderr.push(chunk));
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    child.kill('SIGKILL');
  }, timeout);
  const { code, signal } = await new Promise<{ code: number | null; signal: NodeJS.Signals | null }>(
    (resolve, reject) => {
      child.once('error', reject);
      child.once('close', (code, signal) => resolve({ code, signal }));
    },
  ).finally(() => clearTimeout(timer));
  const stdoutBytes = Buffer.concat(stdout);
  const text = stdoutBytes.toString();
  const errors = Buffer.concat(stderr).toString();
  const command = child.spawnargs.slice(1).join(' ');
  if (late) throw new Error(`volbak ${command}: not done after ${timeout} ms\n${errors}${text}`);
  const exit = code ?? 128 + ((signal && signalNumbers[signal]) || 0);
  return { exit, signal, stdout: text, stderr: errors, stdoutBytes, json: jsonLines(text) };
}

function jsonLines(text: string): Json[] {
  return text.split('\n').flatMap((line) => {
    if (!/^[[{]/.test(line)) return [];
    try {
      return [JSON.parse(line)];
    } catch {
      return [];
    }
  });
}

/** Runs ./bin/volbak to its end. An exit code other than 0 is an answer, not an exception. */
export async function volbak(args: readonly string[], options: VolbakOptions = {}): Promise<VolbakResult> {
  const child = await spawnVolbak(args, options);
  child.stdin.on('error', () => {}); // it may end without having read its input
  child.stdin.end(options.input);
  return finished(child, options.timeout);
}

/** Runs ./bin/volbak to its end; throws with what it printed where it does not exit with 0. */
export async function volbakOk(args: readonly string[], options: VolbakOptions = {}): Promise<VolbakResult> {
  const result = await volbak(args, options);
  if (result.exit === 0) return result;
  throw new Error(`volbak ${args.join(' ')}: exit ${result.exit}\n${result.stderr}${result.stdout}`);
}
