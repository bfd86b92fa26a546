import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { expect } from 'vitest';
import { docker, dockerTry, mountpoint } from '../../support/engine.ts';
import { helpers, type Site, type SiteOptions, site } from '../../support/site.ts';
import { random, seed } from '../../support/soak.ts';
import { tempDir } from '../../support/temp.ts';
import { treeDifferences } from '../../support/trees.ts';
import { finished, privateHomes, type VolbakResult, volbakOk } from '../../support/volbak.ts';

const CONTENT = `
  head -c 9000000 /dev/urandom >random; head -c 3000000 /dev/zero >zeros; mkdir -p many/deep/er empty
  for n in $(seq 600); do echo "file $n" >many/$n; done; ln many/1 many/deep/link; ln -s ../1 many/deep/er/symlink
  cp random many/deep/copy; mkfifo pipe; setfattr -n user.note -v kept many/2; setfattr -n user.root -v kept .
  chown -R 70:71 many; chmod 2750 many/deep; chmod 1777 empty; touch -d @1600000000.25 many; touch -d @1500000000.5 .`;
const CHANGES =
  'head -c 4000000 /dev/urandom >more; for n in $(seq 50); do echo changed >many/$n; done; rm zeros; touch -d @1500000001.5 many .';
export const OLD =
  'mkdir -p many/deep old; echo old >many/deep/file; echo old >random; echo old >only-old; chmod 700 .; find . -exec touch -h -d @1400000000.5 {} +';

/** A volume in its second state, snapshots of both, a container that uses it, and targets; all of one test. */
export interface Laboratory {
  at: Site;
  source: string;
  container: string;
  /** Where volbak's temporary files go. */
  temporary: string;
  /** What differs between a volume and the source; '' where nothing does. */
  differs(volume: string): Promise<string>;
  /** A volume with OLD in it. */
  oldVolume(): Promise<string>;
  /** The same tree as OLD, untouched. */
  reference: string;
}

export async function laboratory(options: SiteOptions = {}): Promise<Laboratory> {
  const temporary = await tempDir('vt-');
  const at = await site({ ...options, env: { ...options.env, TMPDIR: temporary } });
  const source = await at.volume('source', CONTENT);
  const container = at.name('user');
  const mount = ['-v', `${source}:/data`];
  await at.docker(
    'run',
    '-d',
    '--init',
    '--network',
    'none',
    '--name',
    container,
    ...mount,
    'busybox',
    'sleep',
    '100000',
  );
  await at.ok('backup', container);
  await at.inside(source, CHANGES);
  await at.ok('backup', container);
  const reference = await at.volume('reference', OLD);
  return {
    at,
    source,
    container,
    temporary,
    reference,
    differs: async (volume) =>
      treeDifferences(await mountpoint(at.host, source), await mountpoint(at.host, volume)),
    oldVolume: async () => {
      await docker(at.host, 'volume', 'rm', '-f', at.name('target'));
      return at.volume('target', OLD);
    },
  };
}

/** One thing that is killed again and again. */
export interface CrashCase {
  /** Makes everything as it was before the run. */
  reset(): Promise<unknown>;
  /** The run that is killed. */
  args: string[];
  /** What must hold at once after the kill, before any other command. */
  meanwhile?(): Promise<void>;
  /** The next run, which must succeed without anybody's help; without it the same one again. */
  next?: string[];
  /** What must hold after it. */
  afterwards?(): Promise<void>;
  /** Volumes that must be there in the end, besides those of the laboratory. */
  volumes: string[];
  /** Volumes that may be there or not. */
  optional?: string[];
  /** It moves what snapshots are made of: each is restored again after every kill. */
  rewrites?: boolean;
}

export type Victim = 'volbak' | 'helper';

async function killedRun(
  lab: Laboratory,
  args: string[],
  victim: Victim,
  delay: number,
): Promise<VolbakResult> {
  const child = await lab.at.start(...args);
  child.stdin.end();
  const end = finished(child);
  await setTimeout(delay);
  if (victim === 'volbak') child.kill('SIGKILL');
  else
    for (const id of (await helpers(lab.at.host)).split('\n'))
      if (id) await dockerTry(lab.at.host, 'kill', id);
  return end;
}

/** Runs a case to its end once to learn how long it takes, then kills it at `points` moments spread over that time. */
export async function sweep(
  lab: Laboratory,
  crash: CrashCase,
  points: number,
  victim: Victim = 'volbak',
): Promise<void> {
  const from = seed();
  const chance = random(from);
  await crash.reset();
  const begun = performance.now();
  await volbakOk([...lab.at.globals, ...crash.args], { env: lab.at.env });
  const duration = performance.now() - begun;
  for (let point = 0; point < points; point++) {
    await crash.reset();
    const delay = Math.round(((point + chance()) / points) * duration);
    const place = `VOLBAK_SEED=${from}: ${victim} killed after ${delay} of ${Math.round(duration)} ms of ${crash.args.join(' ')}`;
    try {
      await killedRun(lab, crash.args, victim, delay);
      await crash.meanwhile?.();
      await volbakOk([...lab.at.globals, ...(crash.next ?? crash.args)], { env: lab.at.env });
      await crash.afterwards?.();
      await expectNothingLeft(lab, crash);
      if (crash.rewrites) proven.delete(lab);
      await expectSnapshotsWhole(lab);
    } catch (error) {
      throw new Error(`${place}\n${error instanceof Error ? error.message : error}`, { cause: error });
    }
  }
}

/** No helper, no stopped container, no volume too many, no note in the state directory, no temporary file. */
async function expectNothingLeft(lab: Laboratory, { volumes, optional = [] }: CrashCase): Promise<void> {
  const { at, source, container, reference } = lab;
  expect(await helpers(at.host), 'helpers').toBe('');
  expect(await at.docker('inspect', '-f', '{{.State.Status}}', container)).toBe('running');
  const there = (await at.docker('volume', 'ls', '--format', '{{.Name}}'))
    .split('\n')
    .filter((name) => name.startsWith(at.name()));
  const expected = [source, reference, ...volumes];
  expect(there.filter((name) => !optional.includes(name)).sort()).toEqual(expected.sort());
  expect(await readdir(lab.temporary), 'temporary files').toEqual([]);
  const { XDG_STATE_HOME: state = '' } = await privateHomes();
  for (const journal of ['quiesced', 'stages', 'made-volumes'])
    expect(await readdir(path.join(state, 'volbak', journal)).catch(() => []), journal).toEqual([]);
}

const proven = new WeakMap<Laboratory, Set<string>>();

/** Every snapshot whose manifest exists restores to what it was: each is restored once, the structure checked each time. */
async function expectSnapshotsWhole(lab: Laboratory): Promise<void> {
  const { at } = lab;
  const done = proven.get(lab) ?? new Set<string>();
  proven.set(lab, done);
  const snapshots = await at.document('snapshots');
  expect(snapshots.length).toBeGreaterThanOrEqual(2);
  await at.ok('verify', '--quick');
  for (const { id } of snapshots) {
    if (done.has(id)) continue;
    await at.ok('restore', id, '--to-volume', at.name('proof'), '--verify');
    await at.docker('volume', 'rm', at.name('proof'));
    done.add(id);
  }
}
