import { readFile } from 'node:fs/promises';
import { messageOf, VolbakError } from '../core/errors.ts';
import { unknownName } from '../core/yaml-file.ts';
import { type ActionName, type ActionOptions, commandLineOf } from './actions.ts';
import { actionOf } from './load.ts';
import type { ConfigFile, JobConfig, RepositoryConfig } from './schema.ts';

/** A job as a command: its words, and what its environment has besides. Both may hold secrets. */
export interface JobCommand {
  /** Its name, for its lock: it does not run twice at once. */
  job?: string;
  /** Which run of the daemon it is, so that the next one learns how it ended. */
  run?: string;
  argv: string[];
  environment: Record<string, string>;
  /** What is run in a container before and after it. */
  hooks?: CommandHooks;
}

export interface CommandHooks {
  /** The engine; that of the command unless told. */
  host?: string;
  container: string;
  /** Scripts for /bin/sh -e, or programs with their arguments. */
  before?: HookCommand;
  after?: HookCommand;
  /** Of each. */
  timeout: string;
}

interface HookCommand {
  command: string | string[];
  user?: string;
}

/** The name of a job's repository; '' where the environment tells which it is. */
export function repositoryOf({ jobs, defaults, repositories }: ConfigFile, name: string): string {
  return jobs[name]?.repository ?? defaults.repository ?? Object.keys(repositories)[0] ?? '';
}

/** The command of a job. Raises CONFIG for a job that is not there, or a secret's file that cannot be read. */
export async function commandOf(config: ConfigFile, name: string): Promise<JobCommand> {
  const job = Object.hasOwn(config.jobs, name) ? config.jobs[name] : undefined;
  const action = job && actionOf(job);
  if (!job || !action)
    throw new VolbakError('CONFIG', unknownName('job', name, Object.keys(config.jobs)), {
      hint: '`volbak schedule` lists the jobs.',
    });
  const { repositories, defaults } = config;
  const options = job[action] as ActionOptions;
  const repository = repositories[repositoryOf(config, name)];
  const other = repositories[String(options.to ?? options.repair ?? '')];
  const host = job.host ?? defaults.host;
  const global = [
    ...(host === undefined ? [] : [`--host=${host}`]),
    ...(repository === undefined ? [] : [`--repo=${repository.url}`]),
  ];
  const urlOf = (nameOrUrl: string) => repositories[nameOrUrl]?.url ?? nameOrUrl;
  return {
    job: name,
    argv: [...global, ...commandLineOf(action, options, urlOf)],
    environment: await environmentOf(name, repository, other),
    ...(job.hooks ? { hooks: hooksOf(job.hooks, host) } : {}),
  };
}

function hooksOf(hooks: NonNullable<JobConfig['hooks']>, host: string | undefined): CommandHooks {
  const { container, timeout } = hooks;
  const of = (phase: 'before' | 'after'): Partial<CommandHooks> => {
    const [command, user] = [hooks[phase], hooks[`${phase}-user`]];
    return command === undefined ? {} : { [phase]: { command, ...(user === undefined ? {} : { user }) } };
  };
  return { ...(host === undefined ? {} : { host }), container, timeout, ...of('before'), ...of('after') };
}

/** What opens both repositories of a job. Raises CONFIG where they need different things under one name. */
async function environmentOf(
  job: string,
  repository: RepositoryConfig | undefined,
  other: RepositoryConfig | undefined,
): Promise<Record<string, string>> {
  const own = repository ? await secretsOf(repository) : {};
  const others = other ? await secretsOf(other) : {};
  const differing = Object.keys(own).filter(
    // The target of a copy needs no key of its own to be written to.
    (key) => /AWS|SFTP/.test(key) && others[key] !== undefined && others[key] !== own[key],
  );
  if (differing.length > 0)
    throw new VolbakError(
      'CONFIG',
      `job ${job}: its two repositories have different ${differing.join(', ')}`,
      {
        hint: 'Both are opened with the same credentials; use some that are good for both.',
      },
    );
  return { ...others, ...own };
}

async function secretsOf(repository: RepositoryConfig): Promise<Record<string, string>> {
  const from = async (key: 'secret_access_key' | 'sftp_password') => {
    const file = repository[`${key}_file`];
    return file === undefined ? repository[key] : readSecret(file, key);
  };
  const found = {
    VOLBAK_PASSPHRASE: repository.passphrase,
    VOLBAK_PASSPHRASE_FILE: repository.passphrase_file,
    VOLBAK_IDENTITY: repository.identity,
    VOLBAK_IDENTITY_FILE: repository.identity_file,
    VOLBAK_SFTP_PASSWORD: await from('sftp_password'),
    AWS_ACCESS_KEY_ID: repository.access_key_id,
    AWS_SECRET_ACCESS_KEY: await from('secret_access_key'),
  };
  return Object.fromEntries(
    Object.entries(found).filter((pair): pair is [string, string] => pair[1] !== undefined),
  );
}

async function readSecret(file: string, key: string): Promise<string> {
  try {
    return (await readFile(file, 'utf8')).replace(/\r?\n$/, '');
  } catch (error) {
    throw new VolbakError('CONFIG', `${key}_file cannot be read: ${messageOf(error)}`, { cause: error });
  }
}

/**
 * What a job works on that no other may work on at the same time: containers and volumes of an engine. `*` at the end stands
 * for all of it.
 */
export function claimsOf({ defaults }: ConfigFile, job: JobConfig): string[] {
  const action: ActionName | undefined = actionOf(job);
  const options = (action && job[action]) as ActionOptions | undefined;
  const host = job.host ?? defaults.host ?? '';
  if (options === undefined || (action !== 'backup' && action !== 'handle')) return [];
  if (options.all === true) return [`${host}|*`];
  const containers = [options.containers ?? options.container ?? []].flat();
  const volumes = action === 'backup' ? [options.volume ?? []].flat() : [];
  return [
    ...containers.map((name) => `${host}|container/${name}`),
    ...volumes.map((name) => `${host}|volume/${name}`),
  ];
}
