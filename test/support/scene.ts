import type { ChildProcess } from 'node:child_process';
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { expect } from 'vitest';
import { cleanupEngine, docker, engines, inVolume } from './engine.ts';
import { afterwards, tempDir, uniqueName } from './temp.ts';
import { finished, type Json, privateHomes, spawnVolbak, type VolbakResult, volbakOk } from './volbak.ts';

/** What volbak labels its helpers with; the value is what a helper does: list, read, extract, … */
export const HELPER_LABEL = 'io.volbak.helper-run';

/** Names that begin alike in one engine, removed with all that has them, and a place for a repository. */
export interface Scene {
  host: string;
  prefix: string;
  repository: string;
  name(part: string): string;
  /** Global options that lead to this engine and repository. */
  options: string[];
}

export async function makeScene(host: string): Promise<Scene> {
  const prefix = uniqueName('scene');
  const repository = path.join(await tempDir('volbak-repo-'), 'repo');
  afterwards(() => cleanupEngine(host, prefix));
  return {
    host,
    prefix,
    repository,
    name: (part) => `${prefix}-${part}`,
    options: ['-H', host, '--repo', repository],
  };
}

/** A volume with `megabytes` of what cannot be compressed, and some small files before and after it. */
export async function bigVolume(scene: Scene, part: string, megabytes: number): Promise<string> {
  const volume = scene.name(part);
  await docker(scene.host, 'volume', 'create', volume);
  await inVolume(
    scene.host,
    volume,
    `mkdir a z; for n in 1 2 3 4 5; do echo $n >a/$n; echo $n >z/$n; done; head -c ${megabytes}M /dev/urandom >data`,
  );
  return volume;
}

/** A scene on the first engine with one volume, filled by a script, and a backup of it. */
export async function savedScene(script: string): Promise<{ scene: Scene; volume: string }> {
  const scene = await makeScene(engines().a);
  const volume = scene.name('v');
  await docker(scene.host, 'volume', 'create', volume);
  await inVolume(scene.host, volume, script);
  await volbakOk([...scene.options, 'backup', '--volume', volume]);
  return { scene, volume };
}

/** The same with a volume that takes some seconds to read; see bigVolume. */
export async function bigSavedScene(megabytes: number): Promise<{ scene: Scene; volume: string }> {
  const scene = await makeScene(engines().a);
  const volume = await bigVolume(scene, 'big', megabytes);
  await volbakOk([...scene.options, 'backup', '--volume', volume]);
  return { scene, volume };
}

/** A container with two volumes, as the examples of Docker's documentation have it. */
export interface Database {
  container: string;
  /** Mounted at /dbdata. */
  data: string;
  /** Mounted at /etc/conf. */
  conf: string;
}

/** Makes one that is not started; scripts fill its volumes. `options` go to `docker create`. */
export async function makeDatabase(
  scene: Scene,
  scripts: { data: string; conf: string },
  ...options: string[]
): Promise<Database> {
  const [container, data, conf] = [scene.name('dbstore'), scene.name('data'), scene.name('conf')];
  const volumes = ['-v', `${data}:/dbdata`, '-v', `${conf}:/etc/conf`];
  await docker(scene.host, 'create', '--name', container, ...volumes, ...options, 'busybox', 'true');
  await inVolume(scene.host, data, scripts.data);
  await inVolume(scene.host, conf, scripts.conf);
  return { container, data, conf };
}

/** Runs a command as the documentation's one-liner does: with a container's volumes, and a directory at /backup. */
export function withVolumesOf(
  { host }: Scene,
  container: string,
  directory: string,
  image: string,
  ...command: string[]
): Promise<string> {
  const volumes = ['--volumes-from', container, '-v', `${directory}:/backup`];
  return docker(host, 'run', '--rm', '--network', 'none', ...volumes, image, ...command);
}

/** Ids of helpers in an engine, running or not. */
export async function helpers(host: string, purpose?: string): Promise<string[]> {
  const label = purpose === undefined ? HELPER_LABEL : `${HELPER_LABEL}=${purpose}`;
  return (await docker(host, 'ps', '-aq', '--no-trunc', '--filter', `label=${label}`))
    .split('\n')
    .filter((id) => id !== '');
}

export async function volumes(host: string, prefix: string): Promise<string[]> {
  return (await docker(host, 'volume', 'ls', '--format', '{{.Name}}'))
    .split('\n')
    .filter((name) => name.startsWith(prefix));
}

/** Polls until `look` answers with something; fails after `seconds`. */
export async function eventually<T>(
  what: string,
  look: () => Promise<T | undefined | false>,
  seconds = 30,
): Promise<T> {
  const end = Date.now() + seconds * 1000;
  for (;;) {
    const found = await look();
    if (found !== undefined && found !== false) return found;
    if (Date.now() > end) throw new Error(`waited ${seconds} s in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}

export interface Running {
  child: ChildProcess;
  /** Resolves when a JSON line fits; rejects where the process ends before. */
  event(fits: (event: Json) => boolean): Promise<Json>;
  /** Milliseconds from the call to the end, with what was printed. */
  end(timeout?: number): Promise<VolbakResult>;
  /** Where it makes its temporary files; only its own. */
  temporary: string;
}

/** Starts volbak with --json and a TMPDIR of its own. */
export async function start(
  args: readonly string[],
  options: { env?: Record<string, string> } = {},
): Promise<Running> {
  const temporary = await tempDir('vt-');
  const env = { ...(await privateHomes()), TMPDIR: temporary, ...options.env };
  const child = await spawnVolbak(['--json', ...args], { env });
  child.stdin.end();
  const events: Json[] = [];
  let wake = () => {};
  let text = '';
  let over = false;
  child.stdout?.on('data', (chunk: Buffer) => {
    const lines = (text + chunk).split('\n');
    text = lines.pop() ?? '';
    for (const line of lines) if (line.startsWith('{"event"')) events.push(JSON.parse(line));
    wake();
  });
  const result = finished(child);
  const done = result.then(
    () => {
      over = true;
      wake();
    },
    () => {},
  );
  const told = async () => `${(await result).stderr}${(await result).stdout}`;
  return {
    child,
    temporary,
    async event(fits) {
      for (let at = 0; ; ) {
        for (; at < events.length; at++) if (fits(events[at])) return events[at];
        if (over) throw new Error(`ended before the event:\n${await told()}`);
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    },
    async end(timeout = 30_000) {
      const timer = setTimeout(() => child.kill('SIGKILL'), timeout);
      await done;
      clearTimeout(timer);
      return result;
    },
  };
}

/** Nothing of a run is left that ended: no helper, no temporary file, no manifest beyond those counted. */
export async function expectNothingLeft(
  scene: Scene,
  running: Pick<Running, 'temporary'>,
  snapshots: number,
): Promise<void> {
  expect(await helpers(scene.host)).toEqual([]);
  expect(await readdir(running.temporary)).toEqual([]);
  expect(await manifests(scene.repository)).toHaveLength(snapshots);
}

/** Manifests that lie in a local repository, with their paths. */
export async function manifests(repository: string): Promise<string[]> {
  const names = await readdir(path.join(repository, 'snapshots'), { recursive: true }).catch(() => []);
  return names.filter((name) => /\d{8}T\d{6}Z-[0-9a-f]{6}/.test(path.basename(name))).sort();
}

/** All files of a directory. */
export async function filesBelow(directory: string): Promise<string[]> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  return entries
    .filter((e) => e.isFile())
    .map((e) => path.join(e.parentPath, e.name))
    .sort();
}
