import path from 'node:path';
import { docker, dockerTry } from './engine.ts';
import { runScript } from './run-script.ts';
import { bash, type Site } from './site.ts';
import type { Json } from './volbak.ts';

/** The name of the image that the Dockerfile makes, built without a registry. */
export const VOLBAK_IMAGE = 'volbak:local';

/** Brings volbak's own image into an engine; the first time takes a minute or two. */
export async function requireVolbakImage(host: string): Promise<void> {
  const cache =
    process.env.VOLBAK_TEST_IMAGE_CACHE || path.resolve(import.meta.dirname, '../../.cache/images');
  await runScript('volbak-image.sh', [host], { ...process.env, VOLBAK_TEST_IMAGE_CACHE: cache });
}

/** The path of an engine's socket. */
export function socketOf(host: string): string {
  return host.replace('unix://', '');
}

/** The group that an engine's socket belongs to. */
export function socketGroup(host: string): Promise<string> {
  return bash(`stat -L -c %g '${socketOf(host)}'`);
}

export interface ContainerResult {
  exit: number;
  stdout: string;
  stderr: string;
  json: Json[];
}

/** volbak in containers of an engine, not as root, with its state and repository in volumes. */
export interface Containers {
  /** Options of `docker run` that all have. */
  options: string[];
  /** Runs `volbak --json …` in a new container to its end. */
  run(...args: string[]): Promise<ContainerResult>;
  /** The same; throws unless it exits with 0. Answers with the last line. */
  ok(...args: string[]): Promise<Json>;
  /** Starts one that stays, and answers with its name. */
  start(suffix: string, ...args: string[]): Promise<string>;
}

export async function containersOf(at: Site): Promise<Containers> {
  await requireVolbakImage(at.host);
  const options = [
    ...['--network', 'none', '--user', `1000:${await socketGroup(at.host)}`],
    ...['--volume', '/var/run/docker.sock:/var/run/docker.sock'],
    ...['--volume', `${at.name('state')}:/var/lib/volbak`],
    ...['--volume', `${at.name('repository')}:/repository`, '--env', 'VOLBAK_REPO=/repository'],
  ];
  const run = async (...args: string[]): Promise<ContainerResult> => {
    const { exit, stdout, stderr } = await dockerTry(
      at.host,
      ...['run', '--rm', ...options, VOLBAK_IMAGE, '--json', ...args],
    );
    const json = stdout
      .split('\n')
      .filter((line) => line.startsWith('{"'))
      .map((line) => JSON.parse(line));
    return { exit, stdout, stderr, json };
  };
  return {
    options,
    run,
    async ok(...args) {
      const { exit, stdout, stderr, json } = await run(...args);
      if (exit !== 0) throw new Error(`volbak ${args.join(' ')}: exit ${exit}\n${stderr}${stdout}`);
      return json.at(-1);
    },
    async start(suffix, ...args) {
      const name = at.name(suffix);
      await docker(at.host, 'run', '-d', '--name', name, ...options, VOLBAK_IMAGE, '--json', ...args);
      return name;
    },
  };
}
