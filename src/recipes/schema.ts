import { z } from 'zod';
import { DURATION_PATTERN, parseDuration, parseSize, SIZE_PATTERN } from '../core/quantities.ts';

const duration = z
  .string()
  .regex(DURATION_PATTERN, 'it must be a duration, like 500ms, 90s, 5m or 24h')
  .transform((text) => parseDuration(text) as number)
  .describe('A duration: 500ms, 90s, 5m, 24h.');

const size = z
  .string()
  .regex(SIZE_PATTERN, 'it must be a size, like 256m or 1g')
  .transform((text) => parseSize(text) as number)
  .describe('A size: 256m, 1g.');

const command = z
  .union([z.string().min(1), z.array(z.string()).min(1)], {
    error: 'it must be a script (text) or a program with its arguments (a list)',
  })
  .describe('A script for /bin/sh -e, or a program with its arguments.');

const environment = z
  .record(z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/), z.string())
  .describe('Environment; --env and --env-file come before it. Numbers need quotes.');

const hook = z.strictObject({
  command,
  user: z.string().optional().describe('User in the source container.'),
  timeout: duration.default(60_000),
  'on-error': z
    .enum(['fail', 'continue'])
    .default('fail')
    .describe('fail: the data is skipped and the run fails; continue: a warning.'),
});

const hooks = z
  .strictObject({ before: z.array(hook).default([]), after: z.array(hook).default([]) })
  .default({ before: [], after: [] })
  .describe('What to run in the source container; after-hooks run whatever happened.');

const quiesce = z
  .enum(['none', 'pause', 'stop'])
  .default('none')
  .describe('What to do meanwhile with the containers that use the volumes.');

const mount = z.strictObject({
  source: z
    .string()
    .min(1)
    .describe(
      "A path on the engine's host or a volume's name; a name in braces after a dollar sign is taken from the environment.",
    ),
  target: z.string().startsWith('/').describe('Where the handler sees it.'),
  'read-only': z.boolean().default(false),
});

const secret = z.strictObject({
  about: z.string().describe('What it is.'),
  required: z.boolean().default(false),
});

const handler = z
  .strictObject({
    image: z.string().min(1).optional().describe("Default: the source container's own image."),
    command: command.optional().describe("In place of the image's entrypoint and command."),
    user: z.string().optional(),
    'read-write': z.boolean().default(false).describe('May write into the volumes.'),
    network: z.boolean().default(false).describe("Shares the source container's network."),
    mounts: z.array(mount).default([]).describe('What it needs besides the volumes.'),
    environment: environment.default({}),
    required: z.array(z.string()).default([]).describe('Environment that must be given.'),
    secrets: z
      .record(z.string().regex(/^[A-Za-z0-9_.-]+$/), secret)
      .default({})
      .describe('Secrets that it reads from /run/secrets, given with --secret name=file.'),
    timeout: duration.optional(),
    memory: size.optional(),
    capture: z
      .string()
      .regex(/^[A-Za-z0-9][A-Za-z0-9_.-]+$/)
      .optional()
      .describe('Keep its standard output as a snapshot that holds a file of this name.'),
    quiesce,
    hooks,
  })
  .describe('What `volbak handle` runs on the volumes of a container.');

const backup = z
  .strictObject({ quiesce, hooks })
  .describe(
    'What `volbak backup` does around the reading of the volumes: --stop and --pause come before `quiesce`. `volbak migrate` ' +
      'runs the hooks around its stop.',
  );

const drill = z
  .strictObject({
    image: z.string().min(1).optional().describe('Default: the image that the snapshot names.'),
    command: command.optional().describe("In place of the image's entrypoint and command."),
    start: command.optional().describe('Where the image has neither entrypoint nor command.'),
    user: z.string().optional(),
    environment: environment.default({}),
    mount: z
      .string()
      .startsWith('/')
      .optional()
      .describe('Where the volume goes if the snapshot knows no mount path.'),
    health: z
      .strictObject({ command, user: z.string().optional() })
      .optional()
      .describe("Succeeds as soon as the service works. Default: the image's own health check."),
    timeout: duration.default(120_000).describe('Until it is healthy.'),
    check: z
      .strictObject({ command, user: z.string().optional(), timeout: duration.default(300_000) })
      .optional()
      .describe('Run in the container; the drill passes where it exits with 0.'),
  })
  .describe('How `volbak drill` starts and checks what was restored.');

/** What a recipe file may say. */
export const recipeSchema = z
  .strictObject({
    about: z.string().min(1).describe('One line: what it does.'),
    aliases: z.array(z.string()).default([]).describe('Other names of a built-in recipe.'),
    handler: handler.optional(),
    backup: backup.optional(),
    drill: drill.optional(),
  })
  .refine(({ handler, backup, drill }) => (handler ?? backup ?? drill) !== undefined, {
    error: 'it needs a handler, a backup, a drill, or several of them',
  });

export type RecipeFile = z.output<typeof recipeSchema>;
export type HandlerRecipe = NonNullable<RecipeFile['handler']>;
export type BackupRecipe = NonNullable<RecipeFile['backup']>;
export type DrillRecipe = NonNullable<RecipeFile['drill']>;
export type Hook = HandlerRecipe['hooks']['before'][number];

/** The JSON schema for editors; schema/recipe.schema.json holds it. */
export function recipeJsonSchema(): object {
  return {
    title: 'volbak recipe',
    ...z.toJSONSchema(recipeSchema, { io: 'input', target: 'draft-7' }),
  };
}
