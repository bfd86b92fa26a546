import { z } from 'zod';
import { ACTION_NAMES, ACTIONS, type ActionName, type OptionTable } from './actions.ts';
import { command, duration, KINDS, text, zone } from './kinds.ts';
import { labelsSchema } from './label-options.ts';
import { notificationSchema } from './notifications.ts';

const NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]*$/;

function actionSchema(table: OptionTable) {
  const options = Object.entries(table).map(([name, [kind, about]]) => [
    name,
    KINDS[kind].optional().describe(about),
  ]);
  return z.strictObject(Object.fromEntries(options) as Record<string, z.ZodType>);
}

const retry = z
  .strictObject({
    times: z.int().min(0).max(100).default(2).describe('How often; 0 for never.'),
    delay: duration.default('1m').describe('Before the first; each further one waits twice as long.'),
    'max-delay': duration.default('1h').describe('But not longer than this.'),
  })
  .describe('Try again what failed.');

/** How jobs run, for each job or in `defaults`. */
const manners = {
  repository: text.optional().describe('Name of a repository; the only one unless told.'),
  host: text.optional().describe("The engine: unix://, tcp:// or ssh://; the daemon's unless told."),
  timezone: zone.optional(),
  jitter: duration.optional().describe('Start up to this much later, each time by another amount.'),
  overlap: z
    .enum(['queue', 'skip', 'fail'])
    .optional()
    .describe(
      'Where the job, or another one of the same source, still runs: wait (the default), leave out, or fail.',
    ),
  missed: z
    .enum(['once', 'skip'])
    .optional()
    .describe('Runs that fell into a time when nothing ran: made up for by one (the default), or left out.'),
  retry: retry.optional(),
  silence: z
    .union([duration, z.literal(false)])
    .optional()
    .describe(
      'Tell where it did not do well for so long; unless told, where a backup or handler did not in two runs. false: never.',
    ),
};

/** A dump of a large database takes its time. */
export const HOOK_TIMEOUT = '1h';

const hooks = z
  .strictObject({
    container: text.describe('The container that they are run in.'),
    before: command.optional().describe('Where it fails, the job is not done, and fails.'),
    'before-user': text.optional(),
    after: command.optional().describe('Run whatever happened.'),
    'after-user': text.optional(),
    timeout: duration.default(HOOK_TIMEOUT).describe('For each.'),
  })
  .describe('What to run in a container before and after a job.');

const actions = Object.fromEntries(
  ACTION_NAMES.map((name) => [name, actionSchema(ACTIONS[name]).optional()]),
) as Record<ActionName, z.ZodOptional<ReturnType<typeof actionSchema>>>;

const job = z
  .strictObject({
    ...actions,
    schedule: text
      .optional()
      .describe(
        'When: 5 fields (minute hour day month weekday), 6 with seconds first, or @daily and the like.',
      ),
    after: text.optional().describe('Run after this job, each time it did well.'),
    hooks: hooks.optional(),
    ...manners,
  })
  .describe('One thing to do, and when.');

const secret = (about: string) => ({
  value: text.optional().describe(`${about} Better in a file, or from the environment.`),
  file: text.optional().describe(`A file with it. ${about}`),
});
const [passphrase, identity, s3Key, sftp] = [
  secret('Passphrase of an encrypted repository.'),
  secret('Identities (AGE-SECRET-KEY-1…) that open it.'),
  secret('Secret access key of S3.'),
  secret('Password of SFTP.'),
];

const repository = z.strictObject({
  url: text.describe('A path, s3://… or sftp://….'),
  passphrase: passphrase.value,
  passphrase_file: passphrase.file,
  identity: identity.value,
  identity_file: identity.file,
  access_key_id: text.optional().describe('Access key of S3.'),
  secret_access_key: s3Key.value,
  secret_access_key_file: s3Key.file,
  sftp_password: sftp.value,
  sftp_password_file: sftp.file,
});

const daemon = z.strictObject({
  listen: text.optional().describe('Serve /metrics and /healthz there: 127.0.0.1:9187, or a port.'),
  jobs: z.int().min(1).default(2).describe('Jobs at once.'),
  grace: duration
    .default('5s')
    .describe(
      'How long running jobs may still finish when the daemon is to end; then they are stopped cleanly.',
    ),
  log: z.enum(['text', 'json']).default('text').describe('Lines for people, or JSON.'),
});

const named = <T extends z.ZodType>(value: T) =>
  z.record(z.string().regex(NAME, 'a name has letters, digits, dots, dashes and underscores'), value);

/** What volbak.yaml may say. */
export const configSchema = z.strictObject({
  repositories: named(repository).default({}).describe('Where snapshots are kept.'),
  defaults: z.strictObject(manners).default({}).describe('For every job that does not say otherwise.'),
  jobs: named(job).default({}).describe('What to do, and when.'),
  labels: labelsSchema
    .optional()
    .describe('Jobs from labels of containers: they appear and go with the containers.'),
  notifications: named(notificationSchema).default({}).describe('Whom the daemon tells about its jobs.'),
  daemon: daemon.default({ jobs: 2, grace: '5s', log: 'text' }).describe('How `volbak daemon` runs.'),
});

export type ConfigFile = z.output<typeof configSchema>;
export type JobConfig = ConfigFile['jobs'][string];
export type RepositoryConfig = ConfigFile['repositories'][string];

/** The JSON schema for editors; schema/volbak.schema.json holds it. */
export function configJsonSchema(): object {
  return {
    title: 'volbak.yaml',
    ...z.toJSONSchema(configSchema, { io: 'input', target: 'draft-7' }),
  };
}
