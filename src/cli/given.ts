import { readFile } from 'node:fs/promises';
import { messageOf, VolbakError } from '../core/errors.ts';

/** No secret is larger: a wrong file, then. */
const MAX_SECRET = 512 * 1024;

async function read(file: string, option: string): Promise<Buffer> {
  try {
    return await readFile(file);
  } catch (error) {
    throw new VolbakError('USAGE', `${option}: ${file} cannot be read: ${messageOf(error)}`, {
      cause: error,
    });
  }
}

/**
 * Environment from `--env-file` and `--env`, the latter first, as `docker run` takes them: `K=V`, or `K` alone for what
 * volbak's own environment has. Raises USAGE.
 */
export async function givenEnvironment(
  pairs: readonly string[],
  files: readonly string[],
  own: NodeJS.ProcessEnv,
): Promise<Record<string, string>> {
  const env: Record<string, string> = {};
  const take = (text: string, where: string) => {
    const equals = text.indexOf('=');
    const name = equals < 0 ? text : text.slice(0, equals);
    if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) {
      throw new VolbakError('USAGE', `${where} takes KEY=value, or KEY for one from the environment`);
    }
    const value = equals < 0 ? own[name] : text.slice(equals + 1);
    if (value !== undefined) env[name] = value;
  };
  for (const file of files) {
    const lines = (await read(file, '--env-file')).toString('utf8').split(/\r?\n/);
    for (const [i, line] of lines.entries()) {
      if (line.trim() !== '' && !line.startsWith('#'))
        take(line.trimStart(), `--env-file ${file}, line ${i + 1},`);
    }
  }
  for (const pair of pairs) take(pair, '--env');
  return env;
}

/** Contents of `--secret name=file`. Raises USAGE. */
export async function givenSecrets(pairs: readonly string[]): Promise<Map<string, Buffer>> {
  const secrets = new Map<string, Buffer>();
  for (const pair of pairs) {
    const [, name, file] = /^([A-Za-z0-9_][A-Za-z0-9_.-]*)=(.+)$/s.exec(pair) ?? [];
    if (name === undefined || file === undefined) {
      throw new VolbakError(
        'USAGE',
        '--secret takes name=file: what lies in the file is given, not what is typed',
      );
    }
    const content = await read(file, '--secret');
    if (content.length > MAX_SECRET)
      throw new VolbakError('USAGE', `--secret ${name}: ${file} is no secret: it is too large`);
    secrets.set(name, content);
  }
  return secrets;
}
