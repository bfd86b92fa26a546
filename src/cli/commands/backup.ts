import type { Command } from 'commander';
import { EXIT_PARTIAL, isVolbakError, VolbakError } from '../../core/errors.ts';
import { formatBytes, formatDuration, plural } from '../../core/units.ts';
import type { QuiesceMode } from '../../engine/quiesce.ts';
import type { ResolvedSource } from '../../engine/source.ts';
import type { BackupOutcome } from '../../jobs/backup/backup.ts';
import type { EngineContext } from '../../jobs/engine-context.ts';
import type { BackupRecipe } from '../../recipes/schema.ts';
import type { Manifest } from '../../repository/manifest.ts';
import { collect } from '../options.ts';
import type { Register } from '../program.ts';
import { loadBackupRecipe } from '../recipe.ts';
import { parsePairs, type Runtime } from '../runtime.ts';

interface Options {
  volume: string[];
  all?: boolean;
  only: string[];
  exclude: string[];
  includeBinds?: boolean;
  stop?: boolean;
  pause?: boolean;
  recipe?: string;
  tag: string[];
  full?: boolean;
  parent?: string;
  dryRun?: boolean;
}

export function define(program: Command, register: Register): void {
  const command = program
    .command('backup')
    .description('back up all volumes of containers, or volumes by name')
    .argument('[container...]', 'containers, running or not')
    .option('--volume <name>', 'a volume by itself (repeatable)', collect, [])
    .option('--all', 'every container that has volumes')
    .option('--only <name or mount path>', 'only this volume of the container (repeatable)', collect, [])
    .option('--exclude <glob>', 'leave these files out (repeatable)', collect, [])
    .option('--include-binds', 'bind mounts too')
    .option('--stop', 'stop the containers that use the volumes meanwhile')
    .option('--pause', 'pause them meanwhile')
    .option('--recipe <name or file>', 'a recipe that says what to stop, and what to run before and after')
    .option('--tag <key=value>', 'a tag for the snapshot (repeatable)', collect, [])
    .option('--full', 'read everything')
    .option('--parent <ref>', 'the snapshot to take known data from')
    .option('--dry-run', 'say what would be backed up');
  register(command, (runtime, args, options) => backup(runtime, args, options as unknown as Options));
}

async function backup(runtime: Runtime, containers: string[], options: Options): Promise<number> {
  if (containers.length === 0 && options.volume.length === 0 && !options.all) {
    throw new VolbakError('USAGE', 'nothing to back up was named', {
      hint: 'volbak backup <container>, --volume <name> or --all',
    });
  }
  if (options.stop && options.pause) throw new VolbakError('USAGE', '--stop and --pause exclude each other');
  const tags = parsePairs(options.tag, '--tag');
  const recipe = options.recipe === undefined ? undefined : await loadBackupRecipe(options.recipe);
  const ctx = await runtime.engine();
  const sources = await resolveSources(ctx, containers, options);
  tellLeftOut(runtime, ctx, sources);
  if (options.dryRun) return dryRun(runtime, ctx, sources, options);
  const repository = await runtime.repositoryOrNew();
  const { BackupJob } = await import('../../jobs/backup/backup.ts');
  const job = new BackupJob(runtime.env, ctx, repository, {
    exclude: options.exclude,
    tags,
    full: options.full ?? false,
    ...quiesceOf(options, recipe),
    ...(recipe ? { hooks: recipe.hooks } : {}),
    ...(options.parent === undefined ? {} : { parent: await resolveParent(runtime, options.parent) }),
  });
  const done: BackupOutcome[] = [];
  const failed: VolbakError[] = [];
  try {
    for (const source of sources) {
      try {
        const outcome = await job.run(source);
        done.push(outcome);
        describe(runtime, outcome);
      } catch (error) {
        // One container that cannot be read must not keep the others from their backup.
        if (sources.length === 1 || runtime.signal.aborted || !isOwnFault(error)) throw error;
        failed.push(error);
        runtime.output.emit({
          event: 'warning',
          message: `${source.name} was not backed up: ${error.message}`,
        });
      }
    }
  } finally {
    await job.close();
  }
  const [first] = failed;
  if (first)
    throw new VolbakError(
      first.code,
      `${failed.length} of ${sources.length} backups failed; the first: ${first.message}`,
      first.hint === undefined ? {} : { hint: first.hint },
    );
  const exit = done.every(({ manifest }) => manifest.status === 'complete') ? 0 : EXIT_PARTIAL;
  runtime.output.summary('backup', exit, { snapshots: done.map(summarise) });
  return exit;
}

/** What the command line says comes first. */
function quiesceOf({ stop, pause }: Options, recipe: BackupRecipe | undefined): { quiesce?: QuiesceMode } {
  if (stop || pause) return { quiesce: stop ? 'stop' : 'pause' };
  return recipe === undefined || recipe.quiesce === 'none' ? {} : { quiesce: recipe.quiesce };
}

function isOwnFault(error: unknown): error is VolbakError {
  return (['HELPER_FAILED', 'NOT_FOUND_IN_ENGINE', 'HANDLER_FAILED', 'NOT_RESTARTED'] as const).some((code) =>
    isVolbakError(error, code),
  );
}

async function resolveParent(runtime: Runtime, reference: string) {
  const { resolveReference } = await import('../../repository/references.ts');
  return resolveReference(reference, await (await runtime.repository()).snapshotNames());
}

/** Everything that was named, before anything is read: a wrong name ends the command at once. */
async function resolveSources(
  ctx: EngineContext,
  containers: string[],
  options: Options,
): Promise<ResolvedSource[]> {
  const { containersWithVolumes, resolveContainer, resolveVolume } = await import('../../engine/source.ts');
  const { selectVolumes } = await import('../../jobs/backup/select.ts');
  const names = options.all ? await containersWithVolumes(ctx.engine) : containers;
  const sources: ResolvedSource[] = [];
  for (const name of names) {
    const resolved = await resolveContainer(ctx.engine, name, {
      includeBinds: options.includeBinds ?? false,
    });
    const source = selectVolumes(resolved, options.only);
    if (source.volumes.length === 0) {
      throw new VolbakError('NOT_FOUND_IN_ENGINE', `container ${source.name} has no volumes`, {
        hint: source.leftOut.some((mount) => mount.type === 'bind')
          ? 'It has bind mounts: --include-binds.'
          : '`docker inspect` shows its mounts.',
      });
    }
    if (!sources.some((other) => other.container?.id === source.container?.id)) sources.push(source);
  }
  for (const name of options.volume) sources.push(await resolveVolume(ctx.engine, name));
  return sources;
}

function tellLeftOut(runtime: Runtime, ctx: EngineContext, sources: ResolvedSource[]): void {
  for (const source of sources) {
    for (const { type, destination } of source.leftOut) {
      const hint = type === 'bind' ? 'no volume; --include-binds takes it along' : 'no volume';
      runtime.output.emit({
        event: 'left-out',
        source: `${ctx.engine.info.name}/${source.kind}/${source.name}`,
        type,
        destination,
        hint,
      });
    }
    for (const { name, maskedOpts } of source.volumes) {
      if (maskedOpts.length === 0) continue;
      runtime.output.emit({
        event: 'warning',
        volume: name,
        message: `secrets in option ${maskedOpts.join(', ')} are not kept; a restore needs --driver-opt`,
      });
    }
  }
}

async function dryRun(
  runtime: Runtime,
  ctx: EngineContext,
  sources: ResolvedSource[],
  options: Options,
): Promise<number> {
  const { planBackup } = await import('../../jobs/backup/plan.ts');
  const plan = await planBackup(ctx, sources, options.exclude);
  for (const { source, volumes } of plan) {
    runtime.output.line(`${source}`);
    for (const v of volumes)
      runtime.output.line(
        `  ${v.name}  ${plural(v.entries, 'file')}, ${formatBytes(v.bytes)}${v.excluded > 0 ? `, ${v.excluded} left out` : ''}`,
      );
  }
  runtime.output.summary('backup', 0, { dryRun: true, plan });
  return 0;
}

function describe(runtime: Runtime, { manifest, durationMs }: BackupOutcome): void {
  const sum = (key: 'newBytes' | 'storedBytes' | 'tarBytes') =>
    manifest.volumes.reduce((total, v) => total + v[key], 0);
  const partial =
    manifest.status === 'partial' ? `, PARTIAL: ${plural(manifest.warnings.length, 'warning')}` : '';
  runtime.output.line(
    `snapshot ${manifest.id} of ${manifest.source.name}: ${plural(manifest.volumes.length, 'volume')}, ${formatBytes(sum('tarBytes'))}, ` +
      `${formatBytes(sum('newBytes'))} new, ${formatBytes(sum('storedBytes'))} stored, in ${formatDuration(durationMs)}${partial}`,
  );
}

function summarise({ manifest, durationMs, downtimeMs, ofSource }: BackupOutcome): object {
  return {
    id: manifest.id,
    source: sourceOf(manifest),
    status: manifest.status,
    volumes: manifest.volumes.map((v) => ({
      name: v.name,
      destination: v.destinations[0] ?? null,
      entries: v.entries,
      tarBytes: v.tarBytes,
      readBytes: v.readBytes,
      newBytes: v.newBytes,
      storedBytes: v.storedBytes,
      digest: v.digest,
    })),
    warnings: manifest.warnings,
    durationMs,
    ofSource,
    ...(downtimeMs === undefined ? {} : { downtimeMs }),
  };
}

function sourceOf({ source }: Manifest): string {
  return `${source.host}/${source.kind}/${source.name}`;
}
