import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { docker, dockerOk } from './engine.ts';
import { runScript } from './run-script.ts';
import { eventually } from './scene.ts';
import type { Site } from './site.ts';
import { tempDir } from './temp.ts';

/** Brings images into an engine that not all tests need; the first time a database takes up to a minute. */
export async function requireImages(host: string, ...names: string[]): Promise<void> {
  const cache =
    process.env.VOLBAK_TEST_IMAGE_CACHE || path.resolve(import.meta.dirname, '../../.cache/images');
  await runScript('images.sh', [host, ...names], { ...process.env, VOLBAK_TEST_IMAGE_CACHE: cache });
}

/** Starts a container with a volume and waits until a command in it succeeds. */
export async function startService(
  at: Site,
  suffix: string,
  { image, mount, ready, args = [] }: { image: string; mount: string; ready: string[]; args?: string[] },
): Promise<string> {
  const name = at.name(suffix);
  const volume = `${name}-data:${mount}`;
  await at.docker('run', '-d', '--network', 'none', '--name', name, '-v', volume, image, ...args);
  await eventually(`${name} is ready`, () => dockerOk(at.host, 'exec', name, ...ready), 60);
  return name;
}

/** Runs a command in a container; answers with its output. */
export function inside(at: Site, container: string, ...command: string[]): Promise<string> {
  return docker(at.host, 'exec', container, ...command);
}

/** An image made of another one: `files` are scripts by their paths, `changes` as `docker commit --change` takes them. */
export async function derivedImage(
  at: Site,
  from: string,
  files: Record<string, string>,
  changes: string[] = [],
): Promise<string> {
  const image = `${at.name('image')}:latest`;
  const made = at.name('image-made');
  // Created without a command: what a container is given would be the new image's.
  await docker(at.host, 'create', '--network', 'none', '--name', made, from);
  for (const [file, text] of Object.entries(files)) {
    const local = path.join(await tempDir(), 'file');
    await writeFile(local, `${text}\n`, { mode: 0o755 });
    await docker(at.host, 'cp', local, `${made}:${file}`);
  }
  await docker(at.host, 'commit', ...changes.flatMap((change) => ['--change', change]), made, image);
  await docker(at.host, 'rm', '-v', made);
  return image;
}
