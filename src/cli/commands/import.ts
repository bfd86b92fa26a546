import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import type { Command } from 'commander';
import { EXIT_PARTIAL, messageOf, VolbakError } from '../../core/errors.ts';
import { plural } from '../../core/units.ts';
import type { ImportOptions } from '../../jobs/import/import.ts';
import { wholeNumber } from '../options.ts';
import type { Register } from '../program.ts';
import type { Runtime } from '../runtime.ts';
import { keepOldName, keepOldOption, onConflictOption } from './restore.ts';

interface Options {
  toVolume?: string;
  into?: string;
  stripComponents: number;
  onConflict: ImportOptions['onConflict'];
  keepOld?: string | true;
}

export function define(program: Command, register: Register): void {
  const command = program
    .command('import')
    .description('extract a tar of any origin (plain, gz, zst, bz2, xz) into volumes')
    .argument('<file>', 'the archive, or - for standard input')
    .option('--to-volume <name>', 'into this volume')
    .option('--into <container>', "into this container's volumes, members by mount path")
    .option('--strip-components <n>', 'take leading directories off names', wholeNumber, 0)
    .addOption(onConflictOption())
    .addOption(keepOldOption());
  register(command, (runtime, [file = ''], options) => run(runtime, file, options as unknown as Options));
}

async function run(runtime: Runtime, file: string, options: Options): Promise<number> {
  if ((options.toVolume === undefined) === (options.into === undefined)) {
    throw new VolbakError('USAGE', 'import takes either --to-volume or --into');
  }
  const { archive, size } = await openInput(file);
  const ctx = await runtime.engine();
  const { importArchive } = await import('../../jobs/import/import.ts');
  const { resolveContainer } = await import('../../engine/source.ts');
  const result = await importArchive(runtime.env, ctx, archive, {
    strip: options.stripComponents,
    onConflict: options.onConflict,
    ...(await keepOldName(options.keepOld)),
    ...(options.toVolume === undefined ? {} : { toVolume: options.toVolume }),
    ...(options.into === undefined ? {} : { into: await resolveContainer(ctx.engine, options.into) }),
    ...(size === undefined ? {} : { size }),
  });
  for (const { name, entries, keptOld } of result.volumes) {
    runtime.output.line(`imported ${plural(entries, 'member')} into volume ${name}`);
    if (keptOld !== undefined) runtime.output.line(`  its old content is in the directory ${keptOld} of it`);
  }
  const exit = result.warnings.length > 0 ? EXIT_PARTIAL : 0;
  runtime.output.summary('import', exit, result);
  return exit;
}

async function openInput(file: string): Promise<{ archive: AsyncIterable<Uint8Array>; size?: number }> {
  if (file === '-') return { archive: process.stdin };
  try {
    const { size } = await stat(file);
    return { archive: createReadStream(file, { highWaterMark: 1024 * 1024 }), size };
  } catch (error) {
    throw new VolbakError('USAGE', `cannot read the archive ${file}: ${messageOf(error)}`, { cause: error });
  }
}
