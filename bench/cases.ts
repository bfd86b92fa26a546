import { execFileSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type DataSet, prepare, singleFile, stamp } from './data/sets.ts';
import type { TreeSize } from './data/tree.ts';
import { Leftovers } from './leftovers.ts';
import type { Measured } from './measure.ts';
import { type Bench, remove, type Source, storedBytes, type Target, type Tool } from './tools/tool.ts';

/** One measured command. */
export interface Sample {
  set: string;
  case: string;
  tool: string;
  seconds: number;
  /** 0 where it was not sampled even once. */
  peakBytes: number;
  /** What the repository grew by; 0 of cases that only read it. */
  added: number;
  stored: number;
  /** What volbak says it read of the volume; of others unknown. */
  readBytes?: number;
}

export interface SetResult {
  set: DataSet;
  size: TreeSize;
  /** Cases in the order in which they ran, with what to call them. */
  cases: Map<string, string>;
  samples: Sample[];
}

type Method = 'backup' | 'restore' | 'single' | 'export' | 'archive';

interface Step {
  name: string;
  title: string;
  method: Method;
  change?: (directory: string, seed: string) => void;
}

/** After a change some seconds pass, as in a night: else every tool must distrust the times and read all that is new again. */
const REST_MS = 3000;

const STEPS: Step[] = [
  { name: 'first', title: 'first backup', method: 'backup' },
  { name: 'unchanged', title: 'backup, nothing changed', method: 'backup' },
  { name: 'restore', title: 'restore', method: 'restore' },
  { name: 'single', title: 'restore of one file', method: 'single' },
  { name: 'export', title: 'export of the snapshot as a tar', method: 'export' },
  { name: 'archive', title: 'plain tar of the volume, no repository', method: 'archive' },
];

/** Steps on a set of data: `wanted` names sets, cases, or both as in `tree-first`; empty: all. `first` comes always. */
export function stepsOf(set: DataSet, wanted: string[], leaveOut: string[] = []): Step[] {
  const changes = Object.entries(set.changes).map(
    ([name, { title, apply }]): Step => ({
      name,
      title: `backup, ${title}`,
      method: 'backup',
      change: apply,
    }),
  );
  const isWanted = ({ name }: Step) =>
    !leaveOut.includes(name) &&
    (wanted.length === 0 || wanted.some((w) => [set.name, name, `${set.name}-${name}`].includes(w)));
  const chosen = [...STEPS, ...changes].filter(isWanted);
  if (chosen.length === 0) return [];
  return [STEPS[0] as Step, ...chosen.filter(({ name }) => name !== 'first')];
}

/** Reads all once, so that whoever comes first finds it in memory as the others do. */
function warm(...directories: string[]): void {
  for (const directory of directories) {
    execFileSync('sh', ['-c', 'find "$1" -type f -print0 | xargs -0 -r cat >/dev/null', 'sh', directory]);
  }
}

const settle = () => execFileSync('sync');

/** The same list, beginning `by` places later: each comes first once. */
function turned<T>(list: T[], by: number): T[] {
  const at = by % list.length;
  return [...list.slice(at), ...list.slice(0, at)];
}

/** Names and sizes of all files, as one hash. */
function listing(directory: string): string {
  return execFileSync('bash', [
    '-c',
    'cd "$1" && find . -type f -printf \'%P %s\\n\' | LC_ALL=C sort | sha256sum',
    'bash',
    directory,
  ]).toString();
}

/** A fast restore of half of the files would be no news: what came back must have the names and sizes that were there. */
function compare(source: Source, target: Target, tool: Tool, single?: string): void {
  const nested = tool.name === 'restic' ? path.join(target.directory, source.directory) : target.directory;
  const same =
    single === undefined
      ? listing(source.directory) === listing(nested)
      : execFileSync('cmp', [path.join(source.directory, single), path.join(nested, single)]).length === 0;
  if (!same) throw new Error(`${tool.name} did not restore what was in ${source.volume}`);
}

/** Runs the cases of one set of data, by all tools in turn. */
export class Cases {
  private readonly bench: Bench;
  private readonly say: (text: string) => void;
  readonly source: Source;
  private readonly leftovers: Leftovers;
  /** Volumes restored into so far. */
  private targets = 0;
  readonly result: SetResult;

  constructor(bench: Bench, set: DataSet, say: (text: string) => void) {
    this.bench = bench;
    this.say = say;
    this.leftovers = new Leftovers(bench.work);
    const name = `bench-${set.name}`;
    this.source = { container: name, volume: name, directory: this.volume(name) };
    bench.docker('create', '--name', name, '-v', `${name}:/data`, 'toolbox', 'true');
    const size = prepare(set, this.source.directory);
    this.result = { set, size, cases: new Map(), samples: [] };
    say(
      `${set.name}: ${size.files.toLocaleString('en')} files, ${(size.bytes / 1e9).toFixed(2)} GB in ${name}`,
    );
  }

  /** One round: new repositories, then each step by all tools, the order turned with each step and each round. */
  async round(number: number, steps: Step[], tools: Tool[]): Promise<void> {
    for (const tool of tools) await tool.fresh();
    for (const [n, step] of steps.entries()) {
      this.result.cases.set(step.name, step.title);
      const able = tools.filter((tool) => this.can(tool, step, steps));
      if (step.change) {
        step.change(this.source.directory, `${number}`);
        stamp(this.source.directory);
      }
      warm(this.source.directory);
      if (step.method !== 'backup' && step.method !== 'archive')
        warm(...able.map(({ repository }) => repository));
      settle();
      if (step.method === 'backup') await sleep(REST_MS);
      const order = turned(able, number + n);
      for (const tool of order) await this.measure(step, tool);
      const last = this.result.samples.slice(-order.length);
      this.say(
        `  ${step.name}: ${last.map(({ tool, seconds }) => `${tool} ${seconds.toFixed(2)} s`).join(', ')}`,
      );
    }
    for (const tool of tools) remove(tool.repository);
  }

  /** A plain archive is the same work each time: once a round is enough. */
  private can(tool: Tool, step: Step, steps: Step[]): boolean {
    if (tool[step.method] === undefined) return false;
    return step.method !== 'backup' || step === steps[0] || !tool.name.startsWith('tar');
  }

  private async measure(step: Step, tool: Tool): Promise<void> {
    const before = storedBytes(tool.repository);
    settle();
    const measured = await this.call(step, tool);
    const stored = storedBytes(tool.repository);
    const reading = step.method !== 'backup';
    const readBytes = tool.name === 'volbak' && !reading ? readBytesOf(measured.stdout) : undefined;
    this.result.samples.push({
      set: this.result.set.name,
      case: step.name,
      tool: tool.name,
      seconds: measured.seconds,
      peakBytes: measured.peakBytes,
      added: reading ? 0 : stored - before,
      stored,
      ...(readBytes === undefined ? {} : { readBytes }),
    });
  }

  private async call(step: Step, tool: Tool): Promise<Measured> {
    const { source } = this;
    const tar = path.join(this.bench.work, 'out.tar');
    if (step.method === 'backup') return (tool.backup as NonNullable<Tool['backup']>)(source);
    if (step.method === 'export' || step.method === 'archive') {
      const write = tool[step.method] as NonNullable<Tool['export']>;
      return write(source, tar).finally(() => rmSync(tar, { force: true }));
    }
    await this.leftovers.makeRoom(1.3 * this.result.size.bytes);
    const volume = `bench-restored-${++this.targets}`;
    const target: Target = { volume, directory: this.volume(volume) };
    this.leftovers.add(() => this.bench.docker('volume', 'rm', volume));
    settle();
    const single = step.method === 'single' ? singleFile(source.directory) : undefined;
    const measured =
      single === undefined
        ? await (tool.restore as NonNullable<Tool['restore']>)(source, target)
        : await (tool.single as NonNullable<Tool['single']>)(source, target, single);
    compare(source, target, tool, single);
    return measured;
  }

  private volume(name: string): string {
    this.bench.docker('volume', 'create', name);
    return this.bench.docker('volume', 'inspect', '-f', '{{.Mountpoint}}', name);
  }

  /** Removes the data and its container. */
  close(): void {
    this.leftovers.removeAll();
    this.bench.docker('rm', '-v', this.source.container);
    this.bench.docker('volume', 'rm', this.source.volume);
  }
}

function readBytesOf(stdout: string): number {
  const summary = stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { event: string; snapshots?: { volumes: { readBytes: number }[] }[] })
    .find(({ event }) => event === 'summary');
  const volumes = (summary?.snapshots ?? []).flatMap((snapshot) => snapshot.volumes);
  if (volumes.length === 0) throw new Error('volbak named no volume in its summary');
  return volumes.reduce((sum, volume) => sum + volume.readBytes, 0);
}
