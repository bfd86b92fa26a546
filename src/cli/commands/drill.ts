import { writeFile } from 'node:fs/promises';
import type { Command } from 'commander';
import { printableText } from '../../core/bytes.ts';
import { ERROR_CODES, messageOf, VolbakError } from '../../core/errors.ts';
import { formatDuration } from '../../core/units.ts';
import type { DrillOptions, DrillResult } from '../../jobs/drill/types.ts';
import type { SnapshotName } from '../../repository/keys.ts';
import type { Repository } from '../../repository/repository.ts';
import { givenEnvironment } from '../given.ts';
import { collect, duration } from '../options.ts';
import type { Register } from '../program.ts';
import { junitReport, markdownReport, recovery } from '../render/reports.ts';
import type { Runtime } from '../runtime.ts';

interface Options {
  all?: boolean;
  thisHost?: boolean;
  recipe?: string;
  image?: string;
  check?: string;
  env: string[];
  envFile: string[];
  timeout?: number;
  junit?: string;
  markdown?: string;
  keep?: boolean;
}

export function define(program: Command, register: Register): void {
  const command = program
    .command('drill')
    .description('prove a snapshot: restore it aside, compare it, start its service, check that')
    .argument('[ref]', 'snapshot: an id, a source, latest, <source>@<date>')
    .option('--all', 'the newest snapshot of every source')
    .option('--this-host', "with --all: only of this engine's own sources")
    .option('--recipe <name or file>', 'how to start and check it; `volbak recipes` lists them')
    .option('--image <image>', "instead of the snapshot's image")
    .option('--check <script>', 'to be run in the service; exit code 0 passes')
    .option('--env <key=value>', 'environment of the service (repeatable)', collect, [])
    .option('--env-file <file>', 'environment from a file (repeatable)', collect, [])
    .option('--timeout <duration>', 'for getting healthy, and for the check', duration)
    .option('--junit <file>', 'write a report as JUnit XML')
    .option('--markdown <file>', 'write a report as Markdown')
    .option('--keep', 'leave the volumes and the service there');
  register(command, (runtime, [reference], options) =>
    run(runtime, reference, options as unknown as Options),
  );
}

async function run(runtime: Runtime, reference: string | undefined, options: Options): Promise<number> {
  if ((reference === undefined) !== (options.all ?? false)) {
    throw new VolbakError('USAGE', 'drill takes one snapshot, or --all', { hint: 'volbak drill db' });
  }
  if (options.thisHost && !options.all) throw new VolbakError('USAGE', '--this-host goes with --all');
  const drillOptions = await readOptions(runtime, options);
  const repository = await runtime.repository();
  const own = options.thisHost ? (await runtime.connect()).info.name : undefined;
  const names = await chosen(repository, reference, own);
  if (names.length === 0)
    runtime.output.emit({
      event: 'warning',
      message: `there are no snapshots of ${own}: nothing was proven`,
    });
  const ctx = await runtime.engine();
  const { Drill } = await import('../../jobs/drill/drill.ts');
  const results: DrillResult[] = [];
  for (const name of names) {
    const result = await new Drill({ env: runtime.env, ctx, repository }, name, drillOptions).run();
    results.push(result);
    describe(runtime, result);
  }
  await writeReport(options.junit, junitReport(results));
  await writeReport(options.markdown, markdownReport(results));
  const exit = results.every(({ passed }) => passed) ? 0 : ERROR_CODES.DRILL_FAILED;
  runtime.output.summary('drill', exit, summarise(results));
  return exit;
}

async function readOptions(runtime: Runtime, options: Options): Promise<DrillOptions> {
  const { image, check, timeout } = options;
  return {
    env: await givenEnvironment(options.env, options.envFile, runtime.environment.raw),
    keep: options.keep ?? false,
    ...(image === undefined ? {} : { image }),
    ...(check === undefined ? {} : { check }),
    ...(timeout === undefined ? {} : { timeoutMs: timeout }),
    ...(options.recipe === undefined ? {} : { recipe: await loadDrill(options.recipe) }),
  };
}

async function loadDrill(nameOrFile: string) {
  const { loadRecipe } = await import('../../recipes/load.ts');
  const { name, drill } = await loadRecipe(nameOrFile);
  if (drill) return drill;
  throw new VolbakError('USAGE', `recipe ${name} has no drill: it is for handle`, {
    hint: `volbak handle <container> --recipe ${name}`,
  });
}

/** The snapshot that was named, or the newest of every source, or of those of one host. */
async function chosen(
  repository: Repository,
  reference: string | undefined,
  host: string | undefined,
): Promise<SnapshotName[]> {
  const { formatSource, resolveReference } = await import('../../repository/references.ts');
  const all = await repository.snapshotNames();
  if (reference !== undefined) return [resolveReference(reference, all)];
  const wanted = all.filter(({ source }) => host === undefined || source.host === host);
  const newest = new Map(wanted.map((name) => [formatSource(name.source), name]));
  if (all.length > 0) return [...newest.values()];
  throw new VolbakError('SNAPSHOT_NOT_FOUND', 'the repository holds no snapshots', {
    hint: '`volbak backup` makes one.',
  });
}

function describe({ output }: Runtime, { source, snapshot, passed, rtoMs, checks, kept }: DrillResult): void {
  output.line(`${passed ? 'PASSED' : 'FAILED'}: ${source}, snapshot ${snapshot}, ${recovery(rtoMs)}`);
  for (const { name, passed: held, detail, durationMs } of checks) {
    const took = formatDuration(durationMs);
    output.line(
      `  ${held ? 'ok    ' : 'FAILED'}  ${printableText(name)}: ${printableText(detail)} (${took})`,
    );
  }
  if (!kept) return;
  if (kept.container) output.line(`  kept: container ${kept.container}; docker rm -f -v ${kept.container}`);
  output.line(`  kept: volumes; docker volume rm ${kept.volumes.join(' ')}`);
}

async function writeReport(file: string | undefined, text: string): Promise<void> {
  if (file === undefined) return;
  try {
    await writeFile(file, text);
  } catch (error) {
    throw new VolbakError('USAGE', `the report cannot be written: ${messageOf(error)}`, { cause: error });
  }
}

/** Of a single drill its own fields; of several, all of them together. */
function summarise(drills: readonly DrillResult[]): object {
  const [only] = drills;
  if (only && drills.length === 1) return { ...only, drills };
  return {
    passed: drills.every(({ passed }) => passed),
    rtoMs: Math.max(0, ...drills.map(({ rtoMs }) => rtoMs ?? 0)),
    checks: drills.flatMap(({ source, snapshot, checks }) => checks.map((c) => ({ ...c, source, snapshot }))),
    drills,
  };
}
