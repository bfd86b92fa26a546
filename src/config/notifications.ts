import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { messageOf, VolbakError } from '../core/errors.ts';
import { templateNames } from '../core/template.ts';
import { unknownName, type YamlProblem } from '../core/yaml-file.ts';

const text = z.string().min(1);
const url = {
  url: z.url({ protocol: /^https?$/, error: 'it must be an http or https URL' }).optional(),
  url_file: text.optional().describe('A file with the URL, where that is a secret.'),
};
const token = { token: text.optional(), token_file: text.optional().describe('A file with the token.') };

const channels = {
  webhook: z
    .strictObject({ ...url, ...token })
    .optional()
    .describe('The news as JSON, by POST.'),
  ntfy: z
    .strictObject({ ...url, ...token })
    .optional()
    .describe('A topic: https://ntfy.sh/<topic>.'),
  slack: z.strictObject(url).optional().describe('An incoming webhook of Slack, or of what speaks like it.'),
  discord: z.strictObject(url).optional().describe('A webhook of Discord.'),
  gotify: z
    .strictObject({ ...url, ...token })
    .optional()
    .describe('A Gotify server and the token of an application.'),
  healthchecks: z
    .strictObject(url)
    .optional()
    .describe('A ping URL of healthchecks.io, or of what works like it.'),
  email: z
    .strictObject({
      server: z.url({ protocol: /^smtps?$/, error: 'it must be like smtps://mail.example.org' }),
      from: text,
      to: z.array(text).min(1),
      user: text.optional(),
      password: text.optional(),
      password_file: text.optional(),
    })
    .optional()
    .describe('Mail; a password is only sent over TLS.'),
};

const EVENTS = ['failure', 'recovery', 'success', 'silence', 'shrink', 'labels'] as const;
/** What a template may have places for. */
const PLACES = ['event', 'job', 'machine', 'title', 'text', 'at'];
const TEMPLATE_HELP = PLACES.map((place) => `{{${place}}}`).join(', ');
type EventName = (typeof EVENTS)[number];

export const notificationSchema = z.strictObject({
  ...channels,
  on: z
    .array(z.enum(EVENTS))
    .min(1)
    .optional()
    .describe('What is told: all but success unless said; by healthchecks failure and success.'),
  jobs: z.array(text).optional().describe('Of these jobs; of all unless said.'),
  title: text.optional().describe(`In place of the title, with places: ${TEMPLATE_HELP}.`),
  text: text.optional().describe('In place of the text, with the same places.'),
});

export type NotificationConfig = z.output<typeof notificationSchema>;
export type ChannelKind = keyof typeof channels;
export const CHANNEL_KINDS = Object.keys(channels) as ChannelKind[];

/** What a schema cannot tell. */
export function notificationProblems(path: string[], notification: NotificationConfig): YamlProblem[] {
  const kinds = CHANNEL_KINDS.filter((kind) => notification[kind] !== undefined);
  const [kind] = kinds;
  if (kind === undefined || kinds.length > 1)
    return [{ path, key: true, message: `it must have one of ${CHANNEL_KINDS.join(', ')}, and only one` }];
  const templates = (['title', 'text'] as const).flatMap((key) => templateProblems(path, notification, key));
  if (templates.length > 0) return templates;
  const options = notification[kind] as Record<string, unknown>;
  const either = (name: string, needed: boolean): YamlProblem[] => {
    const given = [name, `${name}_file`].filter((key) => options[key] !== undefined).length;
    if (given === 1 || (given === 0 && !needed)) return [];
    return [{ path: [...path, kind], message: `it must have either ${name} or ${name}_file` }];
  };
  return kind === 'email'
    ? either('password', false)
    : [...either('url', true), ...either('token', kind === 'gotify')];
}

function templateProblems(
  path: string[],
  notification: NotificationConfig,
  key: 'title' | 'text',
): YamlProblem[] {
  const unknown = templateNames(notification[key] ?? '').find((name) => !PLACES.includes(name));
  if (unknown === undefined) return [];
  return [{ path: [...path, key], message: unknownName('place', unknown, PLACES) }];
}

/** A channel with its secrets read. Raises CONFIG for a file that cannot be read. */
export async function channelOf(notification: NotificationConfig) {
  const kind = CHANNEL_KINDS.find((name) => notification[name] !== undefined) as ChannelKind;
  const options = notification[kind] as Record<string, string | string[]>;
  const entries = await Promise.all(
    Object.entries(options).map(async ([key, value]) =>
      key.endsWith('_file')
        ? [key.slice(0, -'_file'.length), await read(value as string, key)]
        : [key, value],
    ),
  );
  return { kind, ...Object.fromEntries(entries) };
}

async function read(file: string, key: string): Promise<string> {
  try {
    return (await readFile(file, 'utf8')).trim();
  } catch (error) {
    throw new VolbakError('CONFIG', `${key} cannot be read: ${messageOf(error)}`, { cause: error });
  }
}

/** Whether a notification is for an event of a job. */
export function wants(
  { on, jobs, healthchecks }: NotificationConfig,
  event: EventName,
  job: string,
): boolean {
  const all = EVENTS.filter((name) => name !== 'success');
  const events: readonly EventName[] = on ?? (healthchecks ? ['failure', 'success'] : all);
  return events.includes(event) && (jobs === undefined || jobs.includes(job));
}
