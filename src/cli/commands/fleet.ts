import type { Command } from 'commander';
import { formatBytes, formatDuration, plural } from '../../core/units.ts';
import type { NodeStatus } from '../../jobs/fleet/node.ts';
import type { FleetOptions, NodeResult } from '../../jobs/fleet/types.ts';
import { duration } from '../options.ts';
import { patientOf } from '../patient.ts';
import type { Register } from '../program.ts';
import { table } from '../render/table.ts';
import type { Runtime } from '../runtime.ts';
import { VERSION } from '../version.ts';

interface Options {
  service?: string;
  startTimeout: number;
  timeout?: number;
}

/** What each node runs, unless arguments say otherwise. */
const DEFAULTS = { backup: ['--all'], drill: ['--all', '--this-host'] } as const;

export function define(program: Command, register: Register): void {
  const fleet = program.command('fleet').description('work on every node of a Docker Swarm at once');
  for (const action of ['backup', 'drill'] as const) {
    const command = withOptions(
      fleet
        .command(action)
        .description(`run volbak ${action} on every node (${DEFAULTS[action].join(' ')} unless told)`)
        .argument('[arguments...]', `after --: for volbak ${action}`),
    );
    register(command, (runtime, words, options) =>
      run(runtime, action, words, options as unknown as Options),
    );
  }
  const status = withOptions(
    fleet.command('status').description('examine every node, and show the newest snapshots of its sources'),
  );
  register(status, (runtime, _, options) => showStatus(runtime, options as unknown as Options));
  const node = fleet.command('node').description('the same for this machine alone');
  register(node, (runtime) => showNode(runtime));
}

function withOptions(command: Command): Command {
  return command
    .option('--service <name>', 'the service that runs volbak on each node; by its label unless told')
    .option('--timeout <duration>', 'stop what takes longer', duration)
    .option(
      '--start-timeout <duration>',
      'give up a node where it does not start by then',
      duration,
      300_000,
    );
}

async function onFleet(runtime: Runtime, words: string[], options: Options): Promise<NodeResult[]> {
  const { runOnFleet } = await import('../../jobs/fleet/fleet.ts');
  const engine = await runtime.connect();
  const { service, timeout, startTimeout } = options;
  const fleetOptions: FleetOptions = {
    startTimeoutMs: startTimeout,
    ...(service === undefined ? {} : { service }),
    ...(timeout === undefined ? {} : { timeoutMs: timeout }),
  };
  const { emit } = runtime.output;
  return runOnFleet({ engine, emit, signal: runtime.signal }, ['--json', ...words], fleetOptions);
}

async function run(
  runtime: Runtime,
  action: keyof typeof DEFAULTS,
  words: string[],
  options: Options,
): Promise<number> {
  const { exitOf } = await import('../../jobs/fleet/outcome.ts');
  const given = words.length > 0 ? words : DEFAULTS[action];
  const nodes = await onFleet(runtime, [action, ...given], options);
  for (const node of nodes) runtime.output.line(`${node.node}: ${describe(node)}`);
  const exit = exitOf(nodes);
  runtime.output.summary(`fleet ${action}`, exit, { nodes });
  return exit;
}

interface Summary {
  snapshots?: { status: string; durationMs: number; volumes: { storedBytes: number }[] }[];
  drills?: { source: string; passed: boolean }[];
}

/** A node's result in a line, for people. */
function describe({ exit, error, result }: NodeResult): string {
  const { snapshots, drills } = (result ?? {}) as Summary;
  const parts: string[] = [];
  if (snapshots) {
    const stored = snapshots.flatMap(({ volumes }) => volumes).reduce((sum, v) => sum + v.storedBytes, 0);
    const took = snapshots.reduce((sum, { durationMs }) => sum + durationMs, 0);
    const partial = snapshots.filter(({ status }) => status !== 'complete').length;
    parts.push(
      `${plural(snapshots.length, 'snapshot')}, ${formatBytes(stored)} stored, in ${formatDuration(took)}`,
    );
    if (partial > 0) parts.push(`${partial} PARTIAL`);
  }
  if (drills) {
    const failed = drills.filter(({ passed }) => !passed).map(({ source }) => source);
    parts.push(
      `${plural(drills.length, 'drill')} passed`.replace(/^(\d+)/, String(drills.length - failed.length)),
    );
    if (failed.length > 0) parts.push(`FAILED: ${failed.join(', ')}`);
  }
  if (error) parts.push(`FAILED (exit ${exit}): ${error.message}`);
  else if (parts.length === 0) parts.push(exit === 0 ? 'done' : `FAILED (exit ${exit})`);
  return parts.join('; ');
}

async function showStatus(runtime: Runtime, options: Options): Promise<number> {
  const { exitOf } = await import('../../jobs/fleet/outcome.ts');
  const nodes = await onFleet(runtime, ['fleet', 'node'], options);
  runtime.output.document(
    nodes.map(({ result, ...node }) => ({ ...node, ...(result as NodeStatus | undefined), node: node.node })),
  );
  const rows = nodes.flatMap(rowsOf);
  for (const line of table(['NODE', 'STATE', 'CHECKS', 'SOURCE', 'NEWEST SNAPSHOT', 'STATUS'], rows))
    runtime.output.line(line);
  return exitOf(nodes);
}

function rowsOf({ node, state, error, result }: NodeResult): string[][] {
  const status = result as NodeStatus | undefined;
  const failed = status?.checks.filter((check) => check.state === 'failed') ?? [];
  const [first] = failed;
  const checks = error?.message ?? (first ? `${first.name}: ${first.detail}` : status ? 'ok' : '');
  const sources = status?.sources ?? [];
  const ran = status === undefined ? state : 'ready';
  if (sources.length === 0) return [[node, ran, checks, '', '', '']];
  return sources.map(({ source, started, status: how }, i) => {
    const time = started.replace('T', ' ').replace(/\.\d+Z$/, 'Z');
    return [
      i === 0 ? node : '',
      i === 0 ? ran : '',
      i === 0 ? checks : '',
      source,
      time,
      how ?? 'unreadable',
    ];
  });
}

async function showNode(runtime: Runtime): Promise<number> {
  const { nodeStatus } = await import('../../jobs/fleet/node.ts');
  const status = await nodeStatus(patientOf(runtime), VERSION);
  runtime.output.document(status);
  for (const { name, state, detail } of status.checks)
    runtime.output.line(`${state.padEnd(7)}  ${name}: ${detail}`);
  for (const { source, started, status: how } of status.sources)
    runtime.output.line(`${source}: ${started}, ${how ?? 'unreadable'}`);
  return status.checks.find((check) => check.state === 'failed')?.exitCode ?? 0;
}
