import { readFile } from 'node:fs/promises';
import { type Document, isPair, isScalar, type Scalar, visit } from 'yaml';
import { messageOf, VolbakError } from '../core/errors.ts';
import { parseYamlFile, unknownName, type YamlPath, type YamlProblem } from '../core/yaml-file.ts';
import { ACTION_NAMES, type ActionName } from './actions.ts';
import { labelsProblems } from './label-problems.ts';
import { notificationProblems } from './notifications.ts';
import { type ConfigFile, configJsonSchema, configSchema, type JobConfig } from './schema.ts';

/** What is wrong with a schedule in a time zone; undefined where it is right. */
export type ScheduleCheck = (schedule: string, zone: string | undefined) => string | undefined;

/** Looked for where no file is named. */
export const DEFAULT_CONFIG = 'volbak.yaml';

/** Reads and checks volbak.yaml. Raises CONFIG, which names line, column and what was most likely meant. */
export async function loadConfig(
  file: string,
  environment: NodeJS.ProcessEnv,
  checkSchedule: ScheduleCheck,
): Promise<ConfigFile> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    throw new VolbakError('CONFIG', `the configuration ${file} cannot be read: ${messageOf(error)}`, {
      hint: `Give --config or VOLBAK_CONFIG a file; ${DEFAULT_CONFIG} in this directory is read where none is named.`,
      cause: error,
    });
  }
  return parseConfig(text, file, environment, checkSchedule);
}

/** The same for a text. */
export function parseConfig(
  text: string,
  file: string,
  environment: NodeJS.ProcessEnv,
  checkSchedule: ScheduleCheck,
): ConfigFile {
  return parseYamlFile(text, file, {
    schema: configSchema,
    jsonSchema: configJsonSchema,
    hint: 'schema/volbak.schema.json describes it; `volbak validate` checks it.',
    prepare: (document) => fillIn(document, environment),
    check: (config) => [
      ...repositoryProblems(config),
      ...labelsProblems(config, checkSchedule),
      ...Object.entries(config.notifications).flatMap(([name, notification]) => [
        ...notificationProblems(['notifications', name], notification),
        ...unknownJobs(config, name, notification.jobs ?? []),
      ]),
      ...Object.entries(config.jobs).flatMap(([name, job]) => jobProblems(config, name, job, checkSchedule)),
    ],
  });
}

/** Puts the environment's values where `${NAME}` or `${NAME:-default}` stands; `$${` stands for `${` itself. */
function fillIn(document: Document, environment: NodeJS.ProcessEnv): { at: number; message: string }[] {
  const problems: { at: number; message: string }[] = [];
  visit(document, {
    Scalar(key, node, path) {
      if (key === 'key' || !isScalar(node) || typeof node.value !== 'string') return;
      if (isTemplate(path)) return refuseEnvironment(node, problems);
      node.value = node.value.replace(
        /\$(\$\{)|\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}/g,
        (_, plain?: string, name = '', fallback?: string) => {
          if (plain !== undefined) return plain;
          const value = environment[name] || fallback;
          if (value !== undefined) return value;
          problems.push({
            at: node.range?.[0] ?? 0,
            message: `the environment has no ${name}; $\${${name}} stands for the text itself`,
          });
          return '';
        },
      );
    },
  });
  return problems;
}

/** What is told may be read by anybody, and the environment holds secrets. */
function refuseEnvironment(node: Scalar, problems: { at: number; message: string }[]): void {
  if (!String(node.value).includes('${')) return;
  const message =
    'a template takes nothing from the environment, as that may be secret; places are {{job}} and the like';
  problems.push({ at: node.range?.[0] ?? 0, message });
}

/** Whether a value is the title or text of a notification. */
function isTemplate(path: readonly unknown[]): boolean {
  const keys = path.filter(isPair).map(({ key }) => (isScalar(key) ? key.value : undefined));
  return keys.length === 3 && keys[0] === 'notifications' && (keys[2] === 'title' || keys[2] === 'text');
}

/** What a job does; undefined where it does none or several things. */
export function actionOf(job: JobConfig): ActionName | undefined {
  const said = ACTION_NAMES.filter((name) => job[name] !== undefined);
  return said.length === 1 ? said[0] : undefined;
}

const TWICE = ['passphrase', 'identity', 'secret_access_key', 'sftp_password'] as const;

function repositoryProblems({ repositories, defaults }: ConfigFile): YamlProblem[] {
  const twice = Object.entries(repositories).flatMap(([name, repository]) =>
    TWICE.filter((key) => repository[key] !== undefined && repository[`${key}_file`] !== undefined).map(
      (key) => ({
        path: ['repositories', name, key],
        key: true,
        message: `${key} and ${key}_file exclude each other`,
      }),
    ),
  );
  return [...twice, ...unknownRepository(['defaults'], defaults.repository, repositories)];
}

function unknownRepository(path: YamlPath, name: string | undefined, known: object): YamlProblem[] {
  if (name === undefined || Object.hasOwn(known, name)) return [];
  return [{ path: [...path, 'repository'], message: unknownName('repository', name, Object.keys(known)) }];
}

function jobProblems(
  config: ConfigFile,
  name: string,
  job: JobConfig,
  checkSchedule: ScheduleCheck,
): YamlProblem[] {
  const path = ['jobs', name];
  const problems = unknownRepository(path, job.repository, config.repositories);
  const action = actionOf(job);
  if (action === undefined)
    problems.push({
      path,
      key: true,
      message: `it must have one of ${ACTION_NAMES.join(', ')}, and only one`,
    });
  else problems.push(...actionProblems([...path, action], action, job[action] ?? {}));
  const several = Object.keys(config.repositories).length > 1;
  if (several && job.repository === undefined && config.defaults.repository === undefined)
    problems.push({ path, key: true, message: 'it must say which repository, as there are several' });
  if (job.schedule !== undefined) {
    if (job.after !== undefined)
      problems.push({
        path: [...path, 'after'],
        key: true,
        message: 'schedule and after exclude each other',
      });
    const wrong = checkSchedule(job.schedule, job.timezone ?? config.defaults.timezone);
    if (wrong !== undefined) problems.push({ path: [...path, 'schedule'], message: wrong });
  }
  return [...problems, ...chainProblems(config, name, job)];
}

/** What jobs of labels are called; which ones there are, only the engine knows. */
const LABEL_JOB = /^[^:]+:(?:backup|verify|drill|forget|prune)$/;

function unknownJobs({ jobs, labels }: ConfigFile, name: string, said: readonly string[]): YamlProblem[] {
  return said.flatMap((job, i) =>
    Object.hasOwn(jobs, job) || (labels?.enable && LABEL_JOB.test(job))
      ? []
      : [{ path: ['notifications', name, 'jobs', i], message: unknownName('job', job, Object.keys(jobs)) }],
  );
}

function chainProblems({ jobs, labels }: ConfigFile, name: string, { after }: JobConfig): YamlProblem[] {
  if (after === undefined || (labels?.enable && LABEL_JOB.test(after))) return [];
  const path = ['jobs', name, 'after'];
  if (!Object.hasOwn(jobs, after))
    return [
      {
        path,
        message: unknownName(
          'job',
          after,
          Object.keys(jobs).filter((other) => other !== name),
        ),
      },
    ];
  const seen = new Set<string>();
  for (let at: string | undefined = name; at !== undefined; at = jobs[at]?.after) {
    if (seen.has(at)) return [{ path, message: 'these jobs wait for each other' }];
    seen.add(at);
  }
  return [];
}

/** What the command line would refuse, told with its place. */
function actionProblems(
  path: YamlPath,
  action: ActionName,
  options: Readonly<Record<string, unknown>>,
): YamlProblem[] {
  const problems: YamlProblem[] = [];
  const complain = (message: string) => problems.push({ path, message });
  const has = (key: string) => {
    const value = options[key];
    return Array.isArray(value) ? value.length > 0 : value !== undefined && value !== false;
  };
  const oneOf = (...keys: string[]) => {
    if (!keys.some(has)) complain(`it must have one of ${keys.join(', ')}`);
  };
  if (has('stop') && has('pause')) complain('stop and pause exclude each other');
  if (action === 'backup') oneOf('containers', 'volume', 'all');
  if (action === 'handle') {
    oneOf('container');
    oneOf('recipe', 'image');
    if (has('arguments') && !has('image')) complain('arguments need an image');
  }
  if (action === 'drill' && ['snapshot', 'ref', 'all'].filter(has).length !== 1)
    complain('it must have either snapshot or all');
  if (action === 'copy') {
    oneOf('to');
    oneOf('snapshots', 'refs', 'all');
  }
  if (action === 'forget' && !Object.keys(options).some((key) => key.startsWith('keep-') && has(key)))
    complain('it must have a rule: keep-last, keep-daily, keep-weekly, …');
  return problems;
}
