import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';

const run = promisify(execFile);
const PAGE_BYTES = 4096;
const TICKS = 100;

/** Where a daemon is measured. */
export interface DaemonBench {
  launcher: string;
  /** A directory of its own. */
  work: string;
  host: string;
  /** Of the machine, with PATH. */
  env: NodeJS.ProcessEnv;
}

export interface IdleCost {
  sources: number;
  residentBytes: number;
  /** Of one core. */
  cpu: number;
}

export interface BurstCost {
  jobs: number;
  limit: number;
  seconds: number;
  /** Starts are in the order of the configuration. */
  inOrder: boolean;
  mostAtOnce: number;
  ended: number;
  /** Highest resident memory of the daemon itself in the first and in the last quarter of the time. */
  earlyBytes: number;
  lateBytes: number;
}

interface Line {
  msg: string;
  job?: string;
}

interface Running {
  child: ChildProcess;
  log: Line[];
  until(condition: (log: Line[]) => boolean): Promise<void>;
  end(): Promise<void>;
}

function start({ launcher, work, host, env }: DaemonBench, config: string): Running {
  mkdirSync(path.join(work, 'state'), { recursive: true });
  const file = path.join(work, 'volbak.yaml');
  writeFileSync(file, config);
  const child = spawn(launcher, ['--config', file, 'daemon', '--log', 'json'], {
    env: { ...env, DOCKER_HOST: host, XDG_STATE_HOME: path.join(work, 'state') },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const log: Line[] = [];
  let rest = '';
  child.stdout?.on('data', (bytes: Buffer) => {
    const lines = (rest + bytes).split('\n');
    rest = lines.pop() ?? '';
    log.push(...lines.map((line) => JSON.parse(line) as Line));
  });
  const ended = new Promise((resolve) => child.once('close', resolve));
  return {
    child,
    log,
    async until(condition) {
      while (!condition(log)) {
        if (child.exitCode !== null) throw new Error(`the daemon ended: ${JSON.stringify(log.slice(-5))}`);
        await sleep(100);
      }
    },
    async end() {
      child.kill('SIGTERM');
      await ended;
    },
  };
}

function resident(pid: number): number {
  return Number(readFileSync(`/proc/${pid}/statm`, 'latin1').split(' ')[1]) * PAGE_BYTES;
}

/** Seconds of a core that a process has used. */
function used(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / TICKS;
}

/** A daemon with nothing to do but to watch labelled containers, which are made for it and removed. */
export async function idleCost(bench: DaemonBench, sources: number, seconds: number): Promise<IdleCost> {
  const docker = (...args: string[]) => run('docker', ['-H', bench.host, ...args]);
  const names = Array.from({ length: sources }, (_, i) => `bench-idle-${process.pid}-${i}`);
  const make = (name: string) =>
    docker(
      ...[
        'create',
        '--name',
        name,
        '--network',
        'none',
        '-v',
        `${name}:/data`,
        '--label',
        'volbak.enable=true',
      ],
      ...['--label', 'volbak.schedule=0 0 1 1 *', '--label', 'bench=idle', 'toolbox', 'true'],
    );
  for (let i = 0; i < names.length; i += 8) await Promise.all(names.slice(i, i + 8).map(make));
  const daemon = start(bench, 'labels: { filter: bench=idle }\n');
  try {
    await daemon.until((log) => log.some(({ msg }) => msg.startsWith(`labels: ${sources} jobs came`)));
    await daemon.until((log) => log.some(({ msg }) => msg.endsWith('answers')));
    await sleep(5000);
    const pid = daemon.child.pid as number;
    const before = used(pid);
    await sleep(seconds * 1000);
    const cpu = (used(pid) - before) / seconds;
    return { sources, residentBytes: resident(pid), cpu };
  } finally {
    await daemon.end();
    for (let i = 0; i < names.length; i += 50) await docker('rm', '-f', ...names.slice(i, i + 50));
    for (let i = 0; i < names.length; i += 50) await docker('volume', 'rm', '-f', ...names.slice(i, i + 50));
  }
}

/** Jobs that are due at the same moment, each a `verify` of a small repository: what a process costs and no more. */
export async function burstCost(bench: DaemonBench, jobs: number, limit: number): Promise<BurstCost> {
  const repository = path.join(bench.work, 'repository');
  await run(bench.launcher, ['--repo', repository, 'init'], {
    env: { ...bench.env, XDG_STATE_HOME: path.join(bench.work, 'state') },
  });
  const due = new Date(Date.now() + 15_000 + jobs * 5);
  const schedule = `${due.getUTCSeconds()} ${due.getUTCMinutes()} ${due.getUTCHours()} * * *`;
  const names = Array.from({ length: jobs }, (_, i) => `job-${i}`);
  const config = [
    `repositories: { main: { url: ${repository} } }`,
    `daemon: { jobs: ${limit} }`,
    'defaults: { timezone: UTC }',
    'jobs:',
    ...names.map((name) => `  ${name}: { verify: { quick: true }, schedule: "${schedule}" }`),
  ];
  const daemon = start(bench, `${config.join('\n')}\n`);
  const samples: number[] = [];
  try {
    const count = (log: Line[], what: RegExp) => log.filter(({ msg }) => what.test(msg)).length;
    await daemon.until((log) => count(log, / starts$/) > 0);
    const began = performance.now();
    const timer = setInterval(() => samples.push(resident(daemon.child.pid as number)), 200);
    await daemon
      .until((log) => count(log, / is done/) + count(log, / failed/) >= jobs)
      .finally(() => clearInterval(timer));
    const seconds = (performance.now() - began) / 1000;
    const quarter = Math.ceil(samples.length / 4);
    return {
      jobs,
      limit,
      seconds,
      ...story(daemon.log, names),
      earlyBytes: Math.max(...samples.slice(0, quarter)),
      lateBytes: Math.max(...samples.slice(-quarter)),
    };
  } finally {
    await daemon.end();
  }
}

function story(log: Line[], names: string[]): Pick<BurstCost, 'inOrder' | 'mostAtOnce' | 'ended'> {
  const starts = log.filter(({ msg }) => msg.endsWith(' starts')).map(({ job }) => job);
  let [running, mostAtOnce, ended] = [0, 0, 0];
  for (const { msg } of log) {
    if (msg.endsWith(' starts')) mostAtOnce = Math.max(mostAtOnce, ++running);
    if (/ is done/.test(msg)) {
      running--;
      ended++;
    }
  }
  return { inOrder: JSON.stringify(starts) === JSON.stringify(names), mostAtOnce, ended };
}

const MB = 1e6;

/** What must be reached: 120 MB and 1 % of a core when idle; the limit kept, in order, with flat memory. */
export function daemonTable(idle: IdleCost, burst: BurstCost): string[] {
  const mb = (bytes: number) => `${(bytes / MB).toFixed(0)} MB`;
  const met = (yes: boolean) => (yes ? 'yes' : '**no**');
  const flat = burst.lateBytes < burst.earlyBytes * 1.2 + 10 * MB;
  return [
    '## The daemon',
    '',
    '| case | needed | reached | met |',
    '|---|---|---|---|',
    `| idle with ${idle.sources} labelled containers: memory | 120 MB | ${mb(idle.residentBytes)} | ${met(idle.residentBytes < 120 * MB)} |`,
    `| the same: of a core | 1 % | ${(idle.cpu * 100).toFixed(2)} % | ${met(idle.cpu < 0.01)} |`,
    `| ${burst.jobs} jobs due at the same second: at once | ${burst.limit} | ${burst.mostAtOnce} | ${met(burst.mostAtOnce <= burst.limit)} |`,
    `| the same: all done, started in order | ${burst.jobs} | ${burst.ended}${burst.inOrder ? ', in order' : ', in disorder'}, in ${burst.seconds.toFixed(0)} s | ${met(burst.inOrder && burst.ended === burst.jobs)} |`,
    `| the same: memory of the daemon | flat | ${mb(burst.earlyBytes)} at first, ${mb(burst.lateBytes)} at last | ${met(flat)} |`,
    '',
  ];
}
