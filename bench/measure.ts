import { spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';

export interface Measured {
  seconds: number;
  /** Highest sum of the resident memory of the tool's processes, in bytes: the command, its children, its containers. */
  peakBytes: number;
  stdout: string;
}

export interface RunOptions {
  env?: Record<string, string>;
  cwd?: string;
  /** Directory of an engine whose containers are all the tool's: they count too. Absent: memory is not sampled. */
  engine?: string;
}

const SAMPLE_MS = 50;
const PAGE_BYTES = 4096;
function read(file: string): string {
  try {
    return readFileSync(file, 'latin1');
  } catch {
    return ''; // it ended meanwhile
  }
}

/** A process and all below it. Asks each for its children: to look at every process of the machine would cost too much. */
function* family(pid: number): Generator<number> {
  yield pid;
  let threads: string[] = [];
  try {
    threads = readdirSync(`/proc/${pid}/task`);
  } catch {}
  for (const thread of threads) {
    const children = read(`/proc/${pid}/task/${thread}/children`).trim();
    for (const child of children === '' ? [] : children.split(' ')) yield* family(Number(child));
  }
}

/** First process of each container that runs. Not children of the engine, but named in its directory of bundles. */
function containers(engine: string): number[] {
  const bundles = path.join(engine, 'exec/containerd/daemon/io.containerd.runtime.v2.task/moby');
  let ids: string[] = [];
  try {
    ids = readdirSync(bundles);
  } catch {}
  return ids.map((id) => Number(read(path.join(bundles, id, 'init.pid')))).filter((pid) => pid > 0);
}

/** Pages that two processes share count twice. */
function residentBytes(pids: Iterable<number>): number {
  let pages = 0;
  for (const pid of pids) pages += Number(read(`/proc/${pid}/statm`).split(' ')[1] ?? 0);
  return pages * PAGE_BYTES;
}

/** Runs a command to its end and takes its wall time; raises where it fails. */
export async function run(command: string, args: string[], options: RunOptions = {}): Promise<Measured> {
  const { engine } = options;
  let [stdout, stderr, peakBytes] = ['', '', 0];
  const begun = process.hrtime.bigint();
  const child = spawn(command, args, {
    env: { ...process.env, ...options.env },
    stdio: ['ignore', 'pipe', 'pipe'],
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
  });
  const exited = new Promise<[number | null, bigint]>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (exit) => resolve([exit, process.hrtime.bigint()]));
  });
  child.stdout.on('data', (chunk) => {
    stdout += chunk;
  });
  child.stderr.on('data', (chunk) => {
    stderr = (stderr + chunk).slice(-2000);
  });
  const look = () => {
    const all = [child.pid as number, ...containers(engine as string)];
    peakBytes = Math.max(
      peakBytes,
      all.reduce((bytes, pid) => bytes + residentBytes(family(pid)), 0),
    );
  };
  const timer = engine === undefined ? undefined : setInterval(look, SAMPLE_MS);
  const [exit, ended] = await exited.finally(() => clearInterval(timer));
  if (exit !== 0) throw new Error(`${command} ${args.join(' ')}: exit ${exit}\n${stderr}${stdout}`);
  return { seconds: Number(ended - begun) / 1e9, peakBytes, stdout };
}

/** The value in the middle; between two of them their mean. NaN of none. */
export function median(values: number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1
    ? (sorted[middle] as number)
    : ((sorted[middle - 1] as number) + (sorted[middle] as number)) / 2;
}
