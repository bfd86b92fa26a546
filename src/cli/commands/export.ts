import { type Command, Option } from 'commander';
import { EXIT_PARTIAL, VolbakError } from '../../core/errors.ts';
import { formatBytes, plural } from '../../core/units.ts';
import type { ArchiveFormat } from '../../jobs/export/archive.ts';
import type { ExportResult } from '../../jobs/export/export.ts';
import type { Register } from '../program.ts';
import { openSnapshot } from '../references.ts';
import type { Runtime } from '../runtime.ts';

interface Options {
  output?: string;
  container?: string;
  fromVolume?: string;
  volume?: string;
  format?: ArchiveFormat;
}

export function define(program: Command, register: Register): void {
  const command = program
    .command('export')
    .description('write a snapshot, or volumes straight from the engine, as one plain tar')
    .argument('[ref]', 'snapshot')
    .option('-o, --output <file>', 'file to write; else standard output')
    .option('--container <name>', "this container's volumes, straight from the engine")
    .option('--from-volume <name>', 'this volume, straight from the engine')
    .option('--volume <name>', 'only this volume, without a prefix')
    .addOption(
      new Option('--format <format>', 'tar unless the file name says otherwise').choices([
        'tar',
        'tar.gz',
        'tar.zst',
      ]),
    );
  register(command, (runtime, args, options) => run(runtime, args, options as unknown as Options));
}

async function run(runtime: Runtime, [reference]: string[], options: Options): Promise<number> {
  const given = [reference, options.container, options.fromVolume].filter((value) => value !== undefined);
  if (given.length !== 1) {
    throw new VolbakError('USAGE', 'export takes a snapshot, --container or --from-volume', {
      hint: 'volbak export db -o db.tar',
    });
  }
  const toStdout = options.output === undefined || options.output === '-';
  if (toStdout && runtime.output.json)
    throw new VolbakError('USAGE', '--json and an archive cannot share standard output', {
      hint: 'Give -o <file>.',
    });
  if (toStdout && process.stdout.isTTY)
    throw new VolbakError('USAGE', 'an archive is not for a terminal', {
      hint: 'Give -o <file>, or pipe it on.',
    });
  const result =
    reference === undefined ? await live(runtime, options) : await snapshot(runtime, reference, options);
  const where = toStdout ? 'standard output' : options.output;
  if (!toStdout)
    runtime.output.line(`wrote ${where}: ${plural(result.members, 'member')}, ${formatBytes(result.bytes)}`);
  const exit = result.incomplete ? EXIT_PARTIAL : 0;
  runtime.output.summary('export', exit, { file: where, ...result });
  return exit;
}

async function openSink(options: Options) {
  const { formatOfName, openArchive } = await import('../../jobs/export/archive.ts');
  const file = options.output === '-' ? undefined : options.output;
  return openArchive(
    file ?? process.stdout,
    options.format ?? (file === undefined ? 'tar' : formatOfName(file)),
  );
}

async function snapshot(runtime: Runtime, reference: string, options: Options): Promise<ExportResult> {
  const { repository, manifest } = await openSnapshot(runtime, reference);
  const { chooseVolumes } = await import('../../jobs/restore/targets.ts');
  const { exportSnapshot } = await import('../../jobs/export/export.ts');
  const bare = options.volume !== undefined;
  const volumes = chooseVolumes(manifest, options.volume === undefined ? [] : [options.volume]);
  return exportSnapshot(runtime.env, repository, manifest, volumes, bare, await openSink(options));
}

async function live(runtime: Runtime, options: Options): Promise<ExportResult> {
  const ctx = await runtime.engine();
  const { resolveContainer, resolveVolume } = await import('../../engine/source.ts');
  const { selectVolumes } = await import('../../jobs/backup/select.ts');
  const { exportLive } = await import('../../jobs/export/export.ts');
  const whole =
    options.container === undefined
      ? await resolveVolume(ctx.engine, options.fromVolume as string)
      : await resolveContainer(ctx.engine, options.container);
  const source = selectVolumes(whole, options.volume === undefined ? [] : [options.volume]);
  if (source.volumes.length === 0)
    throw new VolbakError('NOT_FOUND_IN_ENGINE', `container ${source.name} has no volumes`);
  const bare = options.volume !== undefined || options.fromVolume !== undefined;
  return exportLive(runtime.env, ctx, source, bare, await openSink(options));
}
