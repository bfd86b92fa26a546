import { z } from 'zod';
import { ACTIONS, type OptionTable } from './actions.ts';
import { command, duration, KINDS, text, zone } from './kinds.ts';

/** What begins every label of ours on containers. */
export const LABEL_PREFIX = 'volbak.';

const when = z
  .union([z.boolean(), text], { error: 'it must be true (after each backup), false, or a schedule' })
  .describe('true: after each backup; or a schedule of its own.');

/** Labels that are options of a backup; the rules of a recipe's handler are the same. */
const BACKUP_LABELS = ['stop', 'pause', 'only', 'exclude', 'include-binds', 'tag', 'full'] as const;

/** Rules of what is kept. */
export const KEEP_LABELS = [
  'keep-last',
  'keep-hourly',
  'keep-daily',
  'keep-weekly',
  'keep-monthly',
  'keep-yearly',
  'keep-within',
] as const;

function fromTable<K extends string>(table: OptionTable, names: readonly K[]) {
  const entries = names.map((name) => {
    const [kind, about] = table[name] as OptionTable[string];
    return [name, (KINDS[kind] as z.ZodType).optional().describe(about)];
  });
  return Object.fromEntries(entries) as Record<K, z.ZodOptional<z.ZodType>>;
}

/** What a label may be called, without the prefix, and what it may say; in volbak.yaml the default of all containers. */
export const LABEL_OPTIONS = {
  schedule: text.optional().describe('When: like "0 3 * * *" or @daily, which it is unless told.'),
  timezone: zone.optional(),
  jitter: duration.optional().describe('Start up to this much later.'),
  overlap: z
    .enum(['queue', 'skip', 'fail'])
    .optional()
    .describe('Where the job, or another one of the same source, still runs: wait, leave out, or fail.'),
  missed: z
    .enum(['once', 'skip'])
    .optional()
    .describe('Runs that were missed: made up for by one, or left out.'),
  silence: z
    .union([duration, z.literal(false)], { error: 'it must be a duration, like 36h, or false' })
    .optional()
    .describe('Tell where there is no good snapshot for so long; false: never.'),
  repository: text.optional().describe('Name of a repository of volbak.yaml.'),
  ...fromTable(ACTIONS.backup, BACKUP_LABELS),
  before: command.optional().describe('Run in the container before; where it fails, nothing is backed up.'),
  'before-user': text.optional().describe('The user for it.'),
  after: command.optional().describe('Run in the container afterwards, whatever happened.'),
  'after-user': text.optional().describe('The user for it.'),
  recipe: text
    .optional()
    .describe('A built-in recipe that captures a dump, in place of the files; see `volbak recipes`.'),
  ...fromTable(ACTIONS.forget, KEEP_LABELS),
  verify: when.optional(),
  drill: when.optional(),
  'drill-recipe': text.optional().describe('A built-in recipe that says how to start and check it.'),
};

export type LabelName = keyof typeof LABEL_OPTIONS;
export const LABEL_NAMES = Object.keys(LABEL_OPTIONS) as LabelName[];

export const labelOptionsSchema = z.strictObject(LABEL_OPTIONS);
export type LabelOptions = Readonly<Partial<Record<LabelName, unknown>>>;

/** Whether jobs come from labels, of which containers, and what counts where a container does not say. */
export const labelsSchema = z.strictObject({
  enable: z.boolean().default(true).describe('Jobs come from labels of containers.'),
  project: z
    .union([text, z.array(text).min(1)])
    .optional()
    .describe('Only containers of this Compose project, or of these.'),
  filter: z
    .union([text, z.array(text).min(1)])
    .optional()
    .describe('Only containers with this label, or all of these: key or key=value.'),
  host: text.optional().describe("The engine; that of `defaults`, or the daemon's, unless told."),
  offen: z
    .union([
      z.boolean(),
      z.strictObject({
        stop: text.optional().describe('Its BACKUP_STOP_DURING_BACKUP_LABEL.'),
        exec: text.optional().describe('Its EXEC_LABEL.'),
      }),
    ])
    .default(false)
    .describe('Labels of offen/docker-volume-backup, too: stop-during-backup, archive-pre, archive-post.'),
  prune: text.optional().describe('Free the space of what was forgotten, by this schedule.'),
  ...LABEL_OPTIONS,
});

export type LabelsConfig = z.output<typeof labelsSchema>;
