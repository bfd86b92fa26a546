import { homedir, userInfo } from 'node:os';
import { join } from 'node:path';

/** All that volbak takes from the environment; the one place that reads it. */
export interface Environment {
  repository: string | undefined;
  config: string | undefined;
  /** The configuration itself. */
  yaml: string | undefined;
  helperImage: string | undefined;
  homeDirectory: string;
  /** Where repositories live by default, journals are kept and indexes are cached (XDG base directories). */
  dataDirectory: string;
  stateDirectory: string;
  cacheDirectory: string;
  /** For SFTP: who logs in where the URL does not say, and with what besides keys. */
  user: string;
  sshAgentSocket: string | undefined;
  sftpPassword: string | undefined;
  /** What opens encrypted repositories: see secrets.ts. */
  identity: SecretSource;
  passphrase: SecretSource;
  newPassphrase: SecretSource;
  namesKey: SecretSource;
  noColor: boolean;
  /** For what follows Docker's and SSH's own rules: DOCKER_HOST, DOCKER_CONTEXT, SSH_AUTH_SOCK, … */
  raw: NodeJS.ProcessEnv;
}

/** A secret itself, or the file that it is in. */
export interface SecretSource {
  /** How to name it in messages. */
  variable: string;
  value: string | undefined;
  file: string | undefined;
}

function secretSource(env: NodeJS.ProcessEnv, variable: string): SecretSource {
  return { variable, value: env[variable] || undefined, file: env[`${variable}_FILE`] || undefined };
}

function xdg(value: string | undefined, fallback: string): string {
  // The XDG specification: a path that is not absolute is invalid and ignored.
  return join(value?.startsWith('/') ? value : fallback, 'volbak');
}

export function readEnvironment(env: NodeJS.ProcessEnv = process.env): Environment {
  const home = env.HOME || homedir();
  return {
    repository: env.VOLBAK_REPO || undefined,
    config: env.VOLBAK_CONFIG || undefined,
    yaml: env.VOLBAK_YAML || undefined,
    helperImage: env.VOLBAK_HELPER_IMAGE || undefined,
    homeDirectory: home,
    dataDirectory: xdg(env.XDG_DATA_HOME, join(home, '.local/share')),
    stateDirectory: xdg(env.XDG_STATE_HOME, join(home, '.local/state')),
    cacheDirectory: xdg(env.XDG_CACHE_HOME, join(home, '.cache')),
    user: env.USER || userInfo().username,
    sshAgentSocket: env.SSH_AUTH_SOCK || undefined,
    sftpPassword: env.VOLBAK_SFTP_PASSWORD || undefined,
    identity: secretSource(env, 'VOLBAK_IDENTITY'),
    passphrase: secretSource(env, 'VOLBAK_PASSPHRASE'),
    newPassphrase: secretSource(env, 'VOLBAK_NEW_PASSPHRASE'),
    namesKey: secretSource(env, 'VOLBAK_NAMES_KEY'),
    noColor: (env.NO_COLOR ?? '') !== '' || env.TERM === 'dumb',
    raw: env,
  };
}

/** Gives this process, and what it loads (the AWS SDK reads its own), more environment: of the one job that it runs. */
export function addToEnvironment(values: Readonly<Record<string, string>>): void {
  for (const [name, value] of Object.entries(values)) {
    // A secret and the file of one exclude each other: the later one is meant.
    delete process.env[name.endsWith('_FILE') ? name.slice(0, -'_FILE'.length) : `${name}_FILE`];
    process.env[name] = value;
  }
}
