import type { Command } from 'commander';
import { VolbakError } from '../../core/errors.ts';
import { formatBytes, formatDuration, plural } from '../../core/units.ts';
import type { MigratedVolume, MigrateOptions, MigratePlan, MigrateResult } from '../../jobs/migrate/types.ts';
import { collect } from '../options.ts';
import type { Register } from '../program.ts';
import { loadBackupRecipe } from '../recipe.ts';
import { parsePairs, type Runtime } from '../runtime.ts';

interface Options {
  toHost?: string;
  fromHost?: string;
  rename: string[];
  keepSourceStopped?: boolean;
  withContainer?: boolean;
  verifyBeforeStart?: boolean;
  recipe?: string;
  dryRun?: boolean;
}

export function define(program: Command, register: Register): void {
  const command = program
    .command('migrate')
    .description('move volumes to another engine, with a short stop')
    .argument('<name>', 'a container, with all its volumes, or a volume')
    .option('--to-host <docker-host>', 'engine to move to: unix://, tcp:// or ssh://')
    .option('--from-host <docker-host>', 'engine to move from (else the one of --host and DOCKER_HOST)')
    .option('--rename <old=new>', 'a volume under another name there (repeatable)', collect, [])
    .option('--keep-source-stopped', 'do not start the containers again that were stopped')
    .option(
      '--with-container',
      'bring its image and make the container there; with --keep-source-stopped start it',
    )
    .option('--verify-before-start', 'compare all before anything starts, not after it')
    .option('--recipe <name or file>', 'a recipe that says what to run before the stop and after it')
    .option('--dry-run', 'say what would be moved');
  register(command, (runtime, [name = ''], options) => run(runtime, name, options as unknown as Options));
}

async function run(runtime: Runtime, name: string, options: Options): Promise<number> {
  if (options.toHost === undefined)
    throw new VolbakError('USAGE', '--to-host is missing: the engine to move to', {
      hint: 'For example --to-host ssh://root@other.example',
    });
  const recipe = options.recipe === undefined ? undefined : await loadBackupRecipe(options.recipe);
  const migrateOptions: MigrateOptions = {
    rename: new Map(Object.entries(parsePairs(options.rename, '--rename'))),
    keepSourceStopped: options.keepSourceStopped ?? false,
    withContainer: options.withContainer ?? false,
    verifyBeforeStart: options.verifyBeforeStart ?? false,
    hooks: recipe?.hooks ?? { before: [], after: [] },
  };
  const from = await runtime.engine(options.fromHost);
  const to = await runtime.engine(options.toHost, from);
  const { planMigration } = await import('../../jobs/migrate/plan.ts');
  const { Migration } = await import('../../jobs/migrate/migrate.ts');
  const deps = { env: runtime.env, from, to };
  const plan = await planMigration(deps, name, migrateOptions);
  if (options.dryRun) return describePlan(runtime, plan, to.engine.info.name);
  const { source } = plan;
  runtime.output.emit({ event: 'source', source: source.name, volumes: source.volumes.map((v) => v.name) });
  const result = await new Migration(deps, plan, migrateOptions).run();
  describe(runtime, result, to.engine.info.name);
  runtime.output.summary('migrate', 0, { ...result });
  return 0;
}

function describePlan(runtime: Runtime, { volumes, container }: MigratePlan, engine: string): number {
  for (const { from, spec } of volumes)
    runtime.output.line(`volume ${from} -> ${spec.name} (${spec.driver}) on ${engine}`);
  if (container) runtime.output.line(`container ${container.name}, image ${container.image}`);
  runtime.output.summary('migrate', 0, {
    dryRun: true,
    volumes: volumes.map(({ from, spec }) => ({ from, name: spec.name, driver: spec.driver })),
    ...(container
      ? { container: { name: container.name, image: container.image, binds: container.binds } }
      : {}),
  });
  return 0;
}

function describe(runtime: Runtime, result: MigrateResult, engine: string): void {
  for (const volume of result.volumes) describeVolume(runtime, volume, engine);
  const { stopped, downtimeMs, container } = result;
  if (stopped.length > 0)
    runtime.output.line(`stopped for ${formatDuration(downtimeMs)}: ${stopped.join(', ')}`);
  if (container)
    runtime.output.line(
      `container ${container.name} is on ${engine}, ${container.started ? 'started' : 'not started'}`,
    );
}

function describeVolume(runtime: Runtime, volume: MigratedVolume, engine: string): void {
  const { name, from, entries, liveBytes, secondBytes, passes } = volume;
  const source = from === name ? '' : ` from ${from}`;
  const second = passes === 1 ? '' : ` and ${formatBytes(secondBytes)} while stopped`;
  runtime.output.line(
    `migrated volume ${name}${source} to ${engine}: ${plural(entries, 'file')}, ${formatBytes(liveBytes)}${second}, digest proven`,
  );
}
