import type { Command } from 'commander';
import { VolbakError } from '../../core/errors.ts';
import type { Register } from '../program.ts';
import type { Runtime } from '../runtime.ts';
import { VERSION } from '../version.ts';

export function define(program: Command, register: Register): void {
  const command = program
    .command('helper')
    .description('the image of the helper containers: show it, or build it from this machine')
    .argument('[action]', 'show or build', 'show');
  register(command, async (runtime, [action = 'show']) => {
    if (action === 'build') return build(runtime);
    if (action === 'show') return show(runtime);
    throw new VolbakError('USAGE', `helper knows show and build, not '${action}'`);
  });
}

async function build(runtime: Runtime): Promise<number> {
  const engine = await runtime.connect();
  const { buildHelperImage } = await import('../../engine/image.ts');
  const name = await buildHelperImage(engine, {
    version: VERSION,
    signal: runtime.signal,
    log: (message) => runtime.output.emit({ event: 'info', message }),
  });
  runtime.output.line(`built ${name}`);
  runtime.output.document({ image: name });
  return 0;
}

async function show(runtime: Runtime): Promise<number> {
  const ctx = await runtime.engine();
  const { imageId } = await import('../../engine/image-copy.ts');
  const { inspectHelper } = await import('../../engine/image-inspect.ts');
  const { runInImage } = await import('../../engine/run-in-image.ts');
  const abilities = await inspectHelper(ctx.image, runInImage(ctx.engine, runtime.signal));
  const id = await imageId(ctx.engine, ctx.image);
  runtime.output.document({ image: ctx.image, id, ...abilities });
  runtime.output.line(`image     ${ctx.image}`);
  runtime.output.line(`id        ${id}`);
  runtime.output.line(`tar       ${abilities.tar}`);
  runtime.output.line(
    `can       ${(['find', 'sort', 'xattrs', 'acls'] as const).filter((key) => abilities[key]).join(', ')}`,
  );
  if (abilities.missing.length > 0) runtime.output.line(`missing   ${abilities.missing.join(', ')}`);
  return abilities.missing.length > 0 ? 1 : 0;
}
