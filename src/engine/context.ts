import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type ErrorCode, messageOf, VolbakError } from '../core/errors.ts';

/** The part of a docker context that says where its engine is. */
export interface DockerContext {
  name: string;
  host: string;
  skipTlsVerify: boolean;
  /** The directory of ca.pem, cert.pem and key.pem, where the context has any. */
  tlsDir: string | undefined;
}

interface ContextMeta {
  Name?: string;
  Endpoints?: { docker?: { Host?: string; SkipTLSVerify?: boolean } };
}

/** Where the docker CLI keeps its configuration. */
export function dockerConfigDir(env: NodeJS.ProcessEnv, homeDir: string): string {
  return env.DOCKER_CONFIG || join(homeDir, '.docker');
}

/** The context that `docker context use` chose, if any. */
export function currentContext(configDir: string): string | undefined {
  const file = join(configDir, 'config.json');
  if (!existsSync(file)) return undefined;
  const { currentContext: name } = readJson<{ currentContext?: unknown }>(file);
  return typeof name === 'string' && name !== '' ? name : undefined;
}

/** Reads a context by name; `code` tells whether the name came from a flag (USAGE) or from elsewhere (CONFIG). */
export function readContext(configDir: string, name: string, code: ErrorCode): DockerContext {
  const id = createHash('sha256').update(name).digest('hex');
  const file = join(configDir, 'contexts', 'meta', id, 'meta.json');
  if (!existsSync(file)) throw unknownContext(configDir, name, code);
  const docker = readJson<ContextMeta>(file).Endpoints?.docker;
  if (!docker?.Host) {
    throw new VolbakError('CONFIG', `The docker context "${name}" has no docker endpoint.`, {
      hint: `Look at it with: docker context inspect ${name}`,
    });
  }
  const tlsDir = join(configDir, 'contexts', 'tls', id, 'docker');
  return {
    name,
    host: docker.Host,
    skipTlsVerify: docker.SkipTLSVerify === true,
    tlsDir: existsSync(tlsDir) ? tlsDir : undefined,
  };
}

/** The names of all contexts, `default` first. */
export function listContexts(configDir: string): string[] {
  const meta = join(configDir, 'contexts', 'meta');
  const names: string[] = [];
  for (const id of existsSync(meta) ? readdirSync(meta) : []) {
    const file = join(meta, id, 'meta.json');
    const name = existsSync(file) ? readName(file) : undefined;
    if (name) names.push(name);
  }
  return ['default', ...names.sort()];
}

function readName(file: string): string | undefined {
  try {
    return readJson<ContextMeta>(file).Name;
  } catch {
    return undefined; // a broken neighbour must not hide the names that are fine
  }
}

function unknownContext(configDir: string, name: string, code: ErrorCode): VolbakError {
  return new VolbakError(code, `There is no docker context "${name}".`, {
    hint: `These exist: ${listContexts(configDir).join(', ')}.`,
  });
}

function readJson<T>(file: string): T {
  try {
    const value: unknown = JSON.parse(readFileSync(file, 'utf8'));
    if (typeof value === 'object' && value !== null) return value as T;
    throw new Error('it is not a JSON object');
  } catch (cause) {
    throw new VolbakError('CONFIG', `Docker's file ${file} cannot be read: ${messageOf(cause)}`, {
      hint: 'Repair it, or name the engine with --host.',
      cause,
    });
  }
}
