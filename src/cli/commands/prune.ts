import type { Command } from 'commander';
import { systemStopwatch } from '../../core/stopwatch.ts';
import { formatBytes, formatDuration, plural } from '../../core/units.ts';
import type { Pending, PruneReport } from '../../jobs/prune/prune.ts';
import { duration } from '../options.ts';
import type { Register } from '../program.ts';
import type { Runtime } from '../runtime.ts';

interface Options {
  grace: number;
  dryRun?: boolean;
  force?: boolean;
  acceptMissing?: boolean;
  wait?: boolean;
  verify?: boolean;
  rewrite: boolean;
}

/** Exit code where something of a source was left alone. */
const SPARED = 3;

export function define(program: Command, register: Register): void {
  const command = program
    .command('prune')
    .description('free the space of what was forgotten and of what no snapshot needs')
    .option('--grace <duration>', 'how long such things stay', duration, 24 * 3_600_000)
    .option('--dry-run', 'show what would go, delete nothing')
    .option('--verify', 'first read everything, and delete only if all is whole')
    .option('--wait', 'watch sessions that look dead until it is certain, up to 10 minutes')
    .option('--no-rewrite', 'leave segments that are mostly dead as they are')
    .option('--force', 'also what was forgotten of sources whose newest snapshot shrank by more than half')
    .option('--accept-missing', 'go on though snapshots are gone that stood last time');
  const grace = command.options.find(({ long }) => long === '--grace');
  grace?.default(24 * 3_600_000, '24h');
  register(command, (runtime, _, options) => run(runtime, options as unknown as Options));
}

async function run(runtime: Runtime, options: Options): Promise<number> {
  const { prune } = await import('../../jobs/prune/prune.ts');
  const { memoryOnDisk } = await import('../../jobs/prune/memory.ts');
  const repository = await runtime.repository();
  const report = await prune(
    runtime.env,
    repository,
    {
      graceMs: options.grace,
      dryRun: options.dryRun ?? false,
      force: options.force ?? false,
      acceptMissing: options.acceptMissing ?? false,
      wait: options.wait ?? false,
      verify: options.verify ?? false,
      rewrite: options.rewrite,
    },
    {
      stopwatch: systemStopwatch,
      memory: memoryOnDisk(runtime.env.stateDirectory, repository.descriptor.id),
    },
  );
  for (const line of describe(report)) runtime.output.line(line);
  for (const { source, reason } of report.spared)
    runtime.output.emit({
      event: 'warning',
      message: `what was forgotten of ${source} stays: ${reason}. Look whether data was lost; --force deletes it nonetheless.`,
    });
  const exit = report.spared.length === 0 ? 0 : SPARED;
  runtime.output.summary('prune', exit, report);
  return exit;
}

function describe({ dryRun, deleted, rewritten, pending, sessions }: PruneReport): string[] {
  const lines = [
    `${dryRun ? 'would delete' : 'deleted'} ${plural(deleted.segments, 'segment')}, ${formatBytes(deleted.bytes)}` +
      `, of ${plural(deleted.snapshots.length, 'forgotten snapshot')}`,
  ];
  if (deleted.sessions.length > 0)
    lines.push(`${dryRun ? 'would remove' : 'removed'} ${plural(deleted.sessions.length, 'dead session')}`);
  if (rewritten.segments > 0)
    lines.push(
      `${dryRun ? 'would rewrite' : 'rewrote'} ${plural(rewritten.segments, 'mostly dead segment')}: ` +
        `${formatBytes(rewritten.bytes)} become ${formatBytes(rewritten.storedBytes)} after the grace`,
    );
  lines.push(...pending.map(describePending));
  for (const { id, kind, last, deadIn } of sessions)
    lines.push(
      deadIn === undefined
        ? `at work: ${kind} ${id}, last seen ${last}`
        : `perhaps dead: ${kind} ${id}, last seen ${last}; a prune in ${formatDuration(deadIn)} will know, or --wait`,
    );
  return lines;
}

function describePending({ reason, segments, bytes, from, until }: Pending): string {
  const what = `pending: ${plural(segments, 'segment')}, ${formatBytes(bytes)}`;
  if (reason === 'session') return `${what}, until the sessions end that may use them`;
  if (reason === 'shrunk') return `${what}, of sources that shrank`;
  return `${what}, in their grace until ${from === until ? from : `${from} … ${until}`}`;
}
