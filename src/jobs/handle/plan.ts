import { VolbakError } from '../../core/errors.ts';
import { nearest } from '../../core/nearest.ts';
import type { HelperMount } from '../../engine/helper.ts';
import type { QuiesceMode } from '../../engine/quiesce.ts';
import type { ResolvedSource } from '../../engine/source.ts';
import type { HandlerRecipe } from '../../recipes/schema.ts';
import { type Hooks, NO_HOOKS } from '../hooks.ts';

/** What was asked for on the command line. */
export interface HandleOptions {
  /** The image and its arguments, as they stand after `--`. */
  words: readonly string[];
  readWrite: boolean;
  network: boolean;
  capture?: string;
  env: Readonly<Record<string, string>>;
  secrets: ReadonlyMap<string, Buffer>;
  timeoutMs?: number;
  memory?: number;
  user?: string;
  quiesce?: QuiesceMode;
}

/** What will run, and how. */
export interface HandlePlan {
  container: ResolvedSource;
  image: string;
  entrypoint: readonly string[] | undefined;
  args: readonly string[];
  readWrite: boolean;
  network: boolean;
  capture: string | undefined;
  env: Record<string, string>;
  secrets: ReadonlyMap<string, Buffer>;
  mounts: HelperMount[];
  timeoutMs: number | undefined;
  memory: number | undefined;
  user: string | undefined;
  quiesce: QuiesceMode | undefined;
  hooks: Hooks;
}

/** A name that a file and a volume can have. */
const CAPTURE_NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]{1,89}$/;

/** Joins the command line with a recipe; what the command line says comes first. Raises USAGE or CONFIG. */
export function planHandle(
  container: ResolvedSource,
  options: HandleOptions,
  recipe?: { name: string; handler: HandlerRecipe },
): HandlePlan {
  const handler = recipe?.handler;
  const [image, ...args] = options.words;
  const id = container.container?.imageId as string;
  const env = environment(container, options, recipe);
  const capture = options.capture ?? handler?.capture;
  if (image === undefined && !handler) {
    throw new VolbakError('USAGE', 'neither an image nor a recipe was named', {
      hint: 'volbak handle <container> -- <image> [args...], or --recipe <name>',
    });
  }
  if (capture !== undefined && !CAPTURE_NAME.test(capture)) {
    throw new VolbakError('USAGE', `'${capture}' cannot be the name of a captured file`, {
      hint: 'Letters, digits, dots, dashes and underscores; 2 to 90 of them: --capture db.sql',
    });
  }
  const quiesce = options.quiesce ?? quiesceOf(handler);
  const network = options.network || (handler?.network ?? false);
  if (network && quiesce !== undefined) {
    throw new VolbakError(
      'USAGE',
      `a container that is ${quiesce === 'stop' ? 'stopped' : 'paused'} answers nobody`,
      {
        hint: 'Sharing its network makes sense only while it runs.',
      },
    );
  }
  return {
    container,
    image: image ?? handler?.image ?? id,
    entrypoint: entrypointOf(handler),
    args,
    readWrite: options.readWrite || (handler?.['read-write'] ?? false),
    network,
    capture,
    env,
    secrets: secretsOf(options, recipe),
    mounts: mountsOf(handler, env),
    timeoutMs: options.timeoutMs ?? handler?.timeout,
    memory: options.memory ?? handler?.memory,
    user: options.user ?? handler?.user,
    quiesce,
    hooks: handler?.hooks ?? NO_HOOKS,
  };
}

function quiesceOf(handler: HandlerRecipe | undefined): QuiesceMode | undefined {
  return handler === undefined || handler.quiesce === 'none' ? undefined : handler.quiesce;
}

/** A script gets the arguments after the image as $1, $2, … */
export function entrypointOf(
  recipe: { command?: string | string[] | undefined } | undefined,
): string[] | undefined {
  const command = recipe?.command;
  if (command === undefined) return undefined;
  return typeof command === 'string' ? ['/bin/sh', '-ec', command, 'recipe'] : command;
}

/** Where the volumes lie, for scripts; then the recipe's, then what was given. */
function environment(
  container: ResolvedSource,
  options: HandleOptions,
  recipe: { name: string; handler: HandlerRecipe } | undefined,
): Record<string, string> {
  const env = {
    VOLBAK_CONTAINER: container.name,
    VOLBAK_VOLUMES: container.volumes.flatMap((volume) => volume.destinations).join(':'),
    ...recipe?.handler.environment,
    ...options.env,
  };
  for (const name of recipe?.handler.required ?? []) {
    if ((env as Record<string, string>)[name]) continue;
    throw new VolbakError('USAGE', `recipe ${recipe?.name} needs ${name}`, { hint: `--env ${name}=…` });
  }
  return env;
}

function secretsOf(
  { secrets }: HandleOptions,
  recipe: { name: string; handler: HandlerRecipe } | undefined,
): ReadonlyMap<string, Buffer> {
  if (!recipe) return secrets;
  const known = recipe.handler.secrets;
  for (const [name, { about, required }] of Object.entries(known)) {
    if (!required || secrets.has(name)) continue;
    throw new VolbakError('USAGE', `recipe ${recipe.name} needs the secret '${name}': ${about}`, {
      hint: `--secret ${name}=<file>`,
    });
  }
  for (const name of secrets.keys()) {
    if (name in known) continue;
    const meant = nearest(name, Object.keys(known));
    throw new VolbakError('USAGE', `recipe ${recipe.name} knows no secret '${name}'`, {
      hint:
        meant === undefined
          ? `It knows ${Object.keys(known).join(', ') || 'none'}.`
          : `Did you mean '${meant}'?`,
    });
  }
  return secrets;
}

function mountsOf(handler: HandlerRecipe | undefined, env: Readonly<Record<string, string>>): HelperMount[] {
  return (handler?.mounts ?? []).map(({ source: text, target, 'read-only': readOnly }) => {
    const source = text.replace(/\$\{([A-Za-z_][A-Za-z0-9_]*)\}/g, (_, name: string) => {
      const value = env[name];
      if (value) return value;
      throw new VolbakError('USAGE', `the recipe mounts ${text}, and ${name} was not given`, {
        hint: `--env ${name}=…`,
      });
    });
    return { type: source.startsWith('/') ? 'bind' : 'volume', source, target, readOnly };
  });
}
