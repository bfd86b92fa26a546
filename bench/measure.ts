import { spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';

export interface Measured {
  seconds: number;
  /** Highest sum of the resident memory of the process and its children; 0 where not sampled. */
  peakBytes: number;
  stdout: string;
}

const SAMPLE_MS = 50;

/** Parent of every process, from /proc/<pid>/stat; a process that ends meanwhile is left out. */
function parents(): Map<number, number> {
  const found = new Map<number, number>();
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const stat = readFileSync(`/proc/${name}/stat`, 'latin1');
      found.set(Number(name), Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]));
    } catch {}
  }
  return found;
}

function residentBytes(pid: number): number {
  try {
    const line = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'));
    return Number(line?.[1] ?? 0) * 1024;
  } catch {
    return 0;
  }
}

/** Resident memory of a process and all below it. Pages that two of them share count twice. */
function treeBytes(root: number): number {
  const parent = parents();
  const tree = new Set([root]);
  for (let grown = true; grown; ) {
    grown = false;
    for (const [pid, above] of parent) {
      if (tree.has(above) && !tree.has(pid)) grown = tree.add(pid).size > 0;
    }
  }
  return [...tree].reduce((sum, pid) => sum + residentBytes(pid), 0);
}

/** Runs a command to its end and takes its wall time; raises where it fails. */
export async function run(
  command: string,
  args: string[],
  env: Record<string, string> = {},
  sample = false,
): Promise<Measured> {
  const begun = process.hrtime.bigint();
  const child = spawn(command, args, {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (chunk) => {
    stdout += chunk;
  });
  child.stderr.on('data', (chunk) => {
    stderr = (stderr + chunk).slice(-2000);
  });
  let peakBytes = 0;
  const timer = sample
    ? setInterval(() => {
        peakBytes = Math.max(peakBytes, treeBytes(child.pid as number));
      }, SAMPLE_MS)
    : undefined;
  const exit = await new Promise<number | null>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', resolve);
  }).finally(() => clearInterval(timer));
  const seconds = Number(process.hrtime.bigint() - begun) / 1e9;
  if (exit !== 0) throw new Error(`${command} ${args.join(' ')}: exit ${exit}\n${stderr}${stdout}`);
  return { seconds, peakBytes, stdout };
}

export function median(values: number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1
    ? (sorted[middle] as number)
    : ((sorted[middle - 1] as number) + (sorted[middle] as number)) / 2;
}
