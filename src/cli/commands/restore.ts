import { type Command, Option } from 'commander';
import { systemClock } from '../../core/clock.ts';
import { EXIT_PARTIAL } from '../../core/errors.ts';
import { formatBytes, plural } from '../../core/units.ts';
import type { RestoredVolume, RestoreOptions, RestorePlan } from '../../jobs/restore/restore.ts';
import { collect, wholeNumber } from '../options.ts';
import type { Register } from '../program.ts';
import { openSnapshot } from '../references.ts';
import { parsePairs, type Runtime } from '../runtime.ts';

interface Options {
  toVolume?: string;
  rename: string[];
  into?: string;
  volume: string[];
  path: string[];
  stripComponents: number;
  onConflict: RestoreOptions['onConflict'];
  keepOld?: string | true;
  stop?: boolean;
  verify?: boolean;
  driver?: string;
  driverOpt: string[];
  dryRun?: boolean;
}

/** How to treat what is in the target already; import has it too. */
export function onConflictOption(): Option {
  return new Option('--on-conflict <what>', 'where a target volume is not empty')
    .choices(['refuse', 'overlay', 'replace'])
    .default('refuse');
}

/** Where old content goes that is replaced; import has it too. */
export function keepOldOption(): Option {
  return new Option(
    '--keep-old [name]',
    'with replace: keep the old content, in a directory of the volume with this name',
  );
}

/** The directory for old content; without a name in the option one that says when. */
export async function keepOldName(value: string | true | undefined): Promise<{ keepOld?: string }> {
  if (value === undefined) return {};
  const { defaultKeepName } = await import('../../jobs/write/keep-old.ts');
  return { keepOld: value === true ? defaultKeepName(systemClock.now()) : value };
}

export function define(program: Command, register: Register): void {
  const command = program
    .command('restore')
    .description('restore a snapshot into fresh volumes')
    .argument('<ref>', 'snapshot: an id, a source, latest, <source>@<date>')
    .option('--to-volume <name>', 'the one volume into this one')
    .option('--rename <old=new>', 'a volume under another name (repeatable)', collect, [])
    .option('--into <container>', "into this container's volumes, matched by mount path")
    .option('--volume <name>', 'only this volume of the snapshot (repeatable)', collect, [])
    .option('--path <path>', 'only this path and what is below it (repeatable)', collect, [])
    .option('--strip-components <n>', 'take leading directories off names', wholeNumber, 0)
    .addOption(onConflictOption())
    .addOption(keepOldOption())
    .option('--stop', 'stop the containers that use the target volumes meanwhile')
    .option('--verify', 'read everything again and compare digests')
    .option('--driver <name>', 'volume driver instead of the one in the snapshot')
    .option(
      '--driver-opt <key=value>',
      'option for the driver, for example a masked secret (repeatable)',
      collect,
      [],
    )
    .option('--dry-run', 'say what would be restored');
  register(command, (runtime, [reference = ''], options) =>
    run(runtime, reference, options as unknown as Options),
  );
}

async function run(runtime: Runtime, reference: string, options: Options): Promise<number> {
  const rename = new Map(Object.entries(parsePairs(options.rename, '--rename')));
  const driverOpts = parsePairs(options.driverOpt, '--driver-opt');
  const { repository, name } = await openSnapshot(runtime, reference);
  const ctx = await runtime.engine();
  const { planRestore, restore } = await import('../../jobs/restore/restore.ts');
  const { resolveContainer } = await import('../../engine/source.ts');
  const restoreOptions: RestoreOptions = {
    volumes: options.volume,
    rename,
    driverOpts,
    selection: { paths: options.path, strip: options.stripComponents },
    onConflict: options.onConflict,
    ...(await keepOldName(options.keepOld)),
    stop: options.stop ?? false,
    verify: options.verify ?? false,
    ...(options.toVolume === undefined ? {} : { toVolume: options.toVolume }),
    ...(options.into === undefined ? {} : { into: await resolveContainer(ctx.engine, options.into) }),
    ...(options.driver === undefined ? {} : { driver: options.driver }),
  };
  const deps = { env: runtime.env, ctx, repository };
  const plan = await planRestore(deps, name, restoreOptions);
  if (options.dryRun) return describePlan(runtime, plan);
  const volumes = await restore(deps, plan, restoreOptions);
  for (const v of volumes) describe(runtime, v);
  const partial = plan.manifest.status === 'partial' || volumes.some((v) => v.warnings.length > 0);
  if (plan.manifest.status === 'partial') {
    runtime.output.emit({
      event: 'warning',
      message: `snapshot ${plan.manifest.id} is partial: \`volbak show\` names what was not read`,
    });
  }
  const exit = partial ? EXIT_PARTIAL : 0;
  runtime.output.summary('restore', exit, { snapshot: plan.manifest.id, volumes });
  return exit;
}

function describePlan(runtime: Runtime, { manifest, targets }: RestorePlan): number {
  for (const { source, spec } of targets) {
    runtime.output.line(
      `${source.name} -> ${spec.name} (${spec.driver}): ${plural(source.entries, 'file')}, ${formatBytes(source.tarBytes)}`,
    );
  }
  const volumes = targets.map(({ source, spec }) => ({
    from: source.name,
    name: spec.name,
    driver: spec.driver,
    bytes: source.tarBytes,
  }));
  runtime.output.summary('restore', 0, { dryRun: true, snapshot: manifest.id, volumes });
  return 0;
}

function describe(runtime: Runtime, { name, from, bytes, digest, keptOld }: RestoredVolume): void {
  const source = from === name ? '' : ` from ${from}`;
  runtime.output.line(
    `restored volume ${name}${source}: ${formatBytes(bytes)}${digest === undefined ? '' : ', digest proven'}`,
  );
  if (keptOld !== undefined)
    runtime.output.line(`  its old content is in the directory ${keptOld} of the volume`);
}
