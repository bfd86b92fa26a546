import { execFile } from 'node:child_process';
import { claimedEngines } from './claim-engines.ts';

/** URLs of two private Docker Engines, as DOCKER_HOST wants them. */
export interface Engines {
  a: string;
  b: string;
}

/** The two engines that this test file has for itself. */
export function engines(): Engines {
  return claimedEngines();
}

/** The environment without what would lead a program to the user's own engines, repositories and settings. */
export function cleanEnv(): NodeJS.ProcessEnv {
  return Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !/^(DOCKER|VOLBAK|AWS)_/.test(name)),
  );
}

export interface DockerResult {
  exit: number;
  stdout: string;
  stderr: string;
}

/** Runs the docker CLI against one engine; never throws for an exit code. */
export function dockerTry(host: string, ...args: string[]): Promise<DockerResult> {
  return new Promise((resolve, reject) => {
    const options = { env: cleanEnv(), maxBuffer: 256 * 1024 * 1024, timeout: 120_000 };
    const child = execFile('docker', ['-H', host, ...args], options, (error, stdout, stderr) => {
      if (error && typeof error.code !== 'number') reject(error);
      else resolve({ exit: typeof error?.code === 'number' ? error.code : 0, stdout, stderr });
    });
    child.stdin?.end();
  });
}

/** Runs the docker CLI; answers with its output, without the last newline; throws with stderr where it fails. */
export async function docker(host: string, ...args: string[]): Promise<string> {
  const { exit, stdout, stderr } = await dockerTry(host, ...args);
  if (exit !== 0) throw new Error(`docker ${args.join(' ')}: exit ${exit}\n${stderr || stdout}`);
  return stdout.replace(/\n$/, '');
}

/** Whether the docker CLI succeeds. */
export async function dockerOk(host: string, ...args: string[]): Promise<boolean> {
  return (await dockerTry(host, ...args)).exit === 0;
}

/** Runs a shell script in a new container of the toolbox image: `inVolume(host, 'db', 'cat file')` works in the volume. */
export function inVolume(host: string, volume: string, script: string, image = 'toolbox'): Promise<string> {
  const mount = `type=volume,source=${volume},target=/volume,volume-nocopy`;
  return docker(
    host,
    'run',
    '--rm',
    '--network',
    'none',
    '-w',
    '/volume',
    '--mount',
    mount,
    image,
    'sh',
    '-euc',
    script,
  );
}

/** Where a volume's files are on this machine (both engines are local). */
export function mountpoint(host: string, volume: string): Promise<string> {
  return docker(host, 'volume', 'inspect', '-f', '{{.Mountpoint}}', volume);
}

/** Removes the containers, volumes and networks whose names begin with a prefix, and containers that use such volumes. */
export async function cleanupEngine(host: string, prefix: string): Promise<void> {
  if (prefix.length < 4) throw new Error(`prefix too short to clean up by: '${prefix}'`);
  const lines = async (...args: string[]) =>
    (await docker(host, ...args)).split('\n').filter((line) => line !== '');
  const volumes = (await lines('volume', 'ls', '--format', '{{.Name}}')).filter((name) =>
    name.startsWith(prefix),
  );
  const containers = new Set(await lines('ps', '-aq', '--filter', `name=^/?${prefix}`));
  for (const volume of volumes) {
    for (const id of await lines('ps', '-aq', '--filter', `volume=${volume}`)) containers.add(id);
  }
  if (containers.size > 0) await docker(host, 'rm', '-f', '-v', ...containers);
  const left = new Set(await lines('volume', 'ls', '--format', '{{.Name}}'));
  const own = volumes.filter((name) => left.has(name));
  if (own.length > 0) await docker(host, 'volume', 'rm', ...own);
  const networks = await lines('network', 'ls', '--filter', `name=^${prefix}`, '--format', '{{.Name}}');
  if (networks.length > 0) await docker(host, 'network', 'rm', ...networks);
}
