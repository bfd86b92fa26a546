import { type Command, InvalidArgumentError } from 'commander';
import { VolbakError } from '../../core/errors.ts';
import { plural } from '../../core/units.ts';
import type { ForgetPlan } from '../../jobs/forget/forget.ts';
import type { SnapshotName } from '../../repository/keys.ts';
import type { RetentionRules } from '../../repository/retention.ts';
import { collect, duration, positiveInteger } from '../options.ts';
import type { Register } from '../program.ts';
import { table } from '../render/table.ts';
import type { Runtime } from '../runtime.ts';

interface Options {
  keepLast?: number;
  keepHourly?: number;
  keepDaily?: number;
  keepWeekly?: number;
  keepMonthly?: number;
  keepYearly?: number;
  keepWithin?: number;
  keepTag: string[];
  source: string[];
  timezone?: string;
  dryRun?: boolean;
  force?: boolean;
}

/** Exit code where a source was left alone. */
const SPARED = 3;

function timeZone(text: string): string {
  try {
    new Intl.DateTimeFormat('en', { timeZone: text });
    return text;
  } catch {
    throw new InvalidArgumentError('It must be a time zone, like Europe/Berlin or UTC.');
  }
}

export function define(program: Command, register: Register): void {
  const command = program
    .command('forget')
    .description('take out snapshots that no rule keeps; `prune` frees their space later')
    .option('--keep-last <n>', 'the newest ones', positiveInteger)
    .option('--keep-hourly <n>', 'the last one of each of the newest hours that have any', positiveInteger)
    .option('--keep-daily <n>', 'the same for days', positiveInteger)
    .option('--keep-weekly <n>', 'for ISO weeks', positiveInteger)
    .option('--keep-monthly <n>', 'for months', positiveInteger)
    .option('--keep-yearly <n>', 'for years', positiveInteger)
    .option('--keep-within <duration>', 'up to this much older than the newest: 36h, 30d', duration)
    .option('--keep-tag <key[=value]>', 'those with this tag', collect, [])
    .option('--source <source>', 'only of this source', collect, [])
    .option('--timezone <zone>', "where days begin, like Europe/Berlin; the system's unless told", timeZone)
    .option('--dry-run', 'show each snapshot and the rules that keep it, change nothing')
    .option('--force', 'also where the newest snapshot shrank by more than half');
  register(command, (runtime, _, options) => run(runtime, options as unknown as Options));
}

function rulesOf(options: Options): RetentionRules {
  const { keepLast, keepHourly, keepDaily, keepWeekly, keepMonthly, keepYearly, keepWithin, keepTag } =
    options;
  return {
    ...(keepLast === undefined ? {} : { last: keepLast }),
    ...(keepHourly === undefined ? {} : { hourly: keepHourly }),
    ...(keepDaily === undefined ? {} : { daily: keepDaily }),
    ...(keepWeekly === undefined ? {} : { weekly: keepWeekly }),
    ...(keepMonthly === undefined ? {} : { monthly: keepMonthly }),
    ...(keepYearly === undefined ? {} : { yearly: keepYearly }),
    ...(keepWithin === undefined ? {} : { within: keepWithin }),
    tags: keepTag,
  };
}

async function run(runtime: Runtime, options: Options): Promise<number> {
  const { planForget, forget } = await import('../../jobs/forget/forget.ts');
  const { hasRules } = await import('../../repository/retention.ts');
  const rules = rulesOf(options);
  if (!hasRules(rules))
    throw new VolbakError('USAGE', 'no rule says which snapshots stay', {
      hint: 'volbak forget --keep-daily 7 --keep-weekly 5, or another --keep-…; --dry-run shows what would go.',
    });
  const repository = await runtime.repository();
  const names = await chosenSources(await repository.snapshotNames(), options.source);
  const plan = await planForget(runtime.env, repository, names, {
    rules,
    zone: options.timezone ?? Intl.DateTimeFormat().resolvedOptions().timeZone,
    force: options.force ?? false,
  });
  if (!options.dryRun) await forget(runtime.env, repository, plan);
  return report(runtime, plan, options.dryRun ?? false);
}

async function chosenSources(
  names: SnapshotName[],
  sources: readonly string[],
): Promise<readonly SnapshotName[]> {
  if (sources.length === 0) return names;
  const { formatSource, matchingSources } = await import('../../repository/references.ts');
  const wanted = new Set<string>();
  for (const text of sources) {
    const found = matchingSources(text, names).map(formatSource);
    if (found.length === 0)
      throw new VolbakError('SNAPSHOT_NOT_FOUND', `there are no snapshots of '${text}'`);
    if (found.length > 1)
      throw new VolbakError('USAGE', `'${text}' may mean ${found.length} things: ${found.join(', ')}`, {
        hint: 'Write more of it.',
      });
    wanted.add(found[0] as string);
  }
  return names.filter((name) => wanted.has(formatSource(name.source)));
}

function report(runtime: Runtime, plan: ForgetPlan, dryRun: boolean): number {
  const { output } = runtime;
  const rows = plan.sources.flatMap(({ source, snapshots }) =>
    snapshots.map(({ id, status, keep, reasons }) => [
      id,
      source,
      status,
      keep ? 'keep' : 'forget',
      reasons.join(', '),
    ]),
  );
  if (dryRun) for (const line of table(['ID', 'SOURCE', 'STATUS', '', 'KEPT BY'], rows)) output.line(line);
  const spared = plan.sources.filter((source) => source.spared !== undefined);
  for (const { source, spared: why } of spared)
    output.emit({
      event: 'warning',
      message: `nothing of ${source} was forgotten: ${why}. Look whether data was lost; --force forgets nonetheless.`,
    });
  const verb = dryRun ? 'would be forgotten' : 'forgotten';
  output.line(
    `${plural(plan.remove.length, 'snapshot')} ${verb}, ${plan.keep.length} kept; volbak prune frees their space after its grace`,
  );
  const exit = spared.length === 0 ? 0 : SPARED;
  output.summary('forget', exit, {
    dryRun,
    forgotten: plan.remove.map(({ id }) => id),
    kept: plan.keep.map(({ id }) => id),
    sources: plan.sources,
  });
  return exit;
}
