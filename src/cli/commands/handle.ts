import type { Command } from 'commander';
import { ERROR_CODES, VolbakError } from '../../core/errors.ts';
import { formatBytes, formatDuration } from '../../core/units.ts';
import type { HandleOptions } from '../../jobs/handle/plan.ts';
import type { Manifest } from '../../repository/manifest.ts';
import { givenEnvironment, givenSecrets } from '../given.ts';
import { byteSize, collect, duration } from '../options.ts';
import type { Register } from '../program.ts';
import { parsePairs, type Runtime } from '../runtime.ts';

interface Options {
  recipe?: string;
  rw?: boolean;
  capture?: string;
  env: string[];
  envFile: string[];
  secret: string[];
  network?: boolean;
  timeout?: number;
  memory?: number;
  user?: string;
  stop?: boolean;
  pause?: boolean;
  tag: string[];
}

export function define(program: Command, register: Register): void {
  const command = program
    .command('handle')
    .description('run any image on the volumes of a container')
    .argument('<container>', 'whose volumes it gets, read-only unless --rw')
    .argument('[image...]', 'after --: the image, and arguments for it')
    .option('--recipe <name or file>', 'a recipe; `volbak recipes` lists them')
    .option('--rw', 'it may write into the volumes')
    .option('--capture <file name>', 'keep its standard output as a snapshot')
    .option('--env <key=value>', 'environment for it (repeatable)', collect, [])
    .option('--env-file <file>', 'environment from a file (repeatable)', collect, [])
    .option('--secret <name=file>', 'a file for it to read as /run/secrets/<name> (repeatable)', collect, [])
    .option('--network', "share the container's network; else it has none")
    .option('--timeout <duration>', 'kill it after that: 90s, 5m, 2h', duration)
    .option('--memory <size>', 'limit its memory: 256m, 1g', byteSize)
    .option('--user <user>', 'user in the image')
    .option('--stop', 'stop the containers that use the volumes meanwhile')
    .option('--pause', 'pause them meanwhile')
    .option('--tag <key=value>', 'a tag for the snapshot (repeatable)', collect, []);
  register(command, (runtime, [container = '', ...words], options) =>
    run(runtime, container, words, options as unknown as Options),
  );
}

async function run(runtime: Runtime, container: string, words: string[], options: Options): Promise<number> {
  const given = await readOptions(runtime, words, options);
  const tags = parsePairs(options.tag, '--tag');
  const recipe = options.recipe === undefined ? undefined : await loadHandler(options.recipe);
  const engine = await runtime.connect();
  const { resolveContainer } = await import('../../engine/source.ts');
  const { planHandle } = await import('../../jobs/handle/plan.ts');
  const { handle, HandlerFailure } = await import('../../jobs/handle/handle.ts');
  const plan = planHandle(await resolveContainer(engine, container), given, recipe);
  const deps = { env: runtime.env, engine, repository: () => runtime.repositoryOrNew(), tags };
  try {
    const { durationMs, manifest } = await handle(deps, plan);
    if (manifest) describe(runtime, manifest, durationMs);
    runtime.output.summary('handle', 0, {
      handlerExit: 0,
      durationMs,
      ...(manifest ? { snapshot: summarise(manifest) } : {}),
    });
    return 0;
  } catch (error) {
    if (error instanceof HandlerFailure) {
      const { handlerExit } = error;
      runtime.output.summary('handle', ERROR_CODES.HANDLER_FAILED, { handlerExit });
    }
    throw error;
  }
}

async function readOptions(runtime: Runtime, words: string[], options: Options): Promise<HandleOptions> {
  if (options.stop && options.pause) throw new VolbakError('USAGE', '--stop and --pause exclude each other');
  const { timeout, memory, user, capture } = options;
  return {
    words,
    readWrite: options.rw ?? false,
    network: options.network ?? false,
    env: await givenEnvironment(options.env, options.envFile, runtime.environment.raw),
    secrets: await givenSecrets(options.secret),
    ...(options.stop || options.pause ? { quiesce: options.stop ? 'stop' : 'pause' } : {}),
    ...(capture === undefined ? {} : { capture }),
    ...(timeout === undefined ? {} : { timeoutMs: timeout }),
    ...(memory === undefined ? {} : { memory }),
    ...(user === undefined ? {} : { user }),
  };
}

async function loadHandler(nameOrFile: string) {
  const { loadRecipe } = await import('../../recipes/load.ts');
  const { name, handler } = await loadRecipe(nameOrFile);
  if (!handler) {
    throw new VolbakError('USAGE', `recipe ${name} has no handler: it is for drills`, {
      hint: `volbak drill <snapshot> --recipe ${name}`,
    });
  }
  return { name, handler };
}

function describe(runtime: Runtime, manifest: Manifest, durationMs: number): void {
  const [volume] = manifest.volumes;
  if (!volume) return;
  runtime.output.line(
    `snapshot ${manifest.id} of ${manifest.source.name}: ${formatBytes(volume.readBytes)}, ` +
      `${formatBytes(volume.newBytes)} new, ${formatBytes(volume.storedBytes)} stored, in ${formatDuration(durationMs)}`,
  );
}

function summarise({ id, source, status, volumes }: Manifest): object {
  const [volume] = volumes;
  return {
    id,
    source: `${source.host}/${source.kind}/${source.name}`,
    status,
    file: volume?.name,
    bytes: volume?.readBytes,
    newBytes: volume?.newBytes,
    storedBytes: volume?.storedBytes,
    digest: volume?.digest,
  };
}
