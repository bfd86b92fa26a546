import path from 'node:path';
import { expect } from 'vitest';
import { cleanupEngine, docker, dockerOk, engines, mountpoint } from '../../support/engine.ts';
import { fingerprint, helpers } from '../../support/site.ts';
import { afterwards, tempDir } from '../../support/temp.ts';
import { treeDifferences } from '../../support/trees.ts';
import { volbak, volbakOk } from '../../support/volbak.ts';
import { type CrashCase, type Laboratory, OLD } from './laboratory.ts';

/** A backup that lets the container stand still; it changes before each, so that there is something to read. */
const held =
  (option: string) =>
  async (lab: Laboratory): Promise<CrashCase> => {
    let n = 0;
    return {
      reset: () => lab.at.inside(lab.source, `echo ${++n} >many/counter; head -c 300000 /dev/urandom >more`),
      args: ['backup', lab.container, option],
      afterwards: async () => {
        await lab.at.ok('restore', lab.container, '--to-volume', lab.at.name('proof'), '--verify');
        expect(await lab.differs(lab.at.name('proof'))).toBe('');
        await lab.at.docker('volume', 'rm', lab.at.name('proof'));
      },
      volumes: [],
    };
  };

/** The target has the whole volume or none, and the source is as it was. */
const migrate = async (lab: Laboratory): Promise<CrashCase> => {
  const { at, source, container } = lab;
  const other = engines().b;
  afterwards(() => cleanupEngine(other, at.name()));
  const differs = async () =>
    treeDifferences(await mountpoint(at.host, source), await mountpoint(other, source));
  const before = await fingerprint(await mountpoint(at.host, source));
  const there = ['-H', other, '--repo', at.repo];
  return {
    reset: () => docker(other, 'volume', 'rm', '-f', source),
    args: ['migrate', container, '--to-host', other],
    next: ['recover'],
    afterwards: async () => {
      await volbakOk([...there, 'recover'], { env: at.env });
      expect(await helpers(other)).toBe('');
      expect(await fingerprint(await mountpoint(at.host, source))).toBe(before);
      if (!(await dockerOk(other, 'volume', 'inspect', source)))
        await at.ok('migrate', container, '--to-host', other);
      expect(await differs()).toBe('');
    },
    volumes: [],
  };
};

const fresh = async (lab: Laboratory): Promise<CrashCase> => {
  const target = lab.at.name('target');
  return {
    reset: () => docker(lab.at.host, 'volume', 'rm', '-f', target),
    args: ['restore', lab.container, '--to-volume', target],
    next: ['backup', '--volume', lab.source],
    // Killed while its last note was removed it is there, and whole; else it is gone.
    afterwards: async () => {
      if (await dockerOk(lab.at.host, 'volume', 'inspect', target))
        expect(await lab.differs(target)).toBe('');
    },
    volumes: [],
    optional: [target],
  };
};

/** After the next command it is all old or all new; a second restore then makes it new. */
function inPlace(lab: Laboratory, args: string[], isNew: (target: string) => Promise<string>): CrashCase {
  const { at, reference } = lab;
  const target = at.name('target');
  return {
    reset: () => lab.oldVolume(),
    args,
    next: ['backup', '--volume', lab.source],
    afterwards: async () => {
      const old = await treeDifferences(
        await mountpoint(at.host, reference),
        await mountpoint(at.host, target),
      );
      if (old !== '')
        expect((await isNew(target)).slice(0, 1000), `neither old:\n${old.slice(0, 1000)}\nnor new`).toBe('');
      const again = await volbak([...at.globals, ...args], { env: at.env });
      expect(again.exit, again.stdout).toBe(0);
      expect((await isNew(target)).slice(0, 1000)).toBe('');
    },
    volumes: [target],
  };
}

const replace = async (lab: Laboratory) =>
  inPlace(
    lab,
    ['restore', lab.container, '--to-volume', lab.at.name('target'), '--on-conflict', 'replace'],
    lab.differs,
  );

const overlay = async (lab: Laboratory) => {
  const merged = await lab.at.volume('merged', OLD);
  const args = ['restore', lab.container, '--on-conflict', 'overlay', '--to-volume'];
  await volbakOk([...lab.at.globals, ...args, merged], { env: lab.at.env });
  const crash = inPlace(lab, [...args, lab.at.name('target')], async (target) =>
    treeDifferences(await mountpoint(lab.at.host, merged), await mountpoint(lab.at.host, target)),
  );
  return { ...crash, volumes: [...crash.volumes, merged] };
};

const importing = async (lab: Laboratory) => {
  const archive = path.join(await tempDir(), 'archive.tar');
  await volbakOk([...lab.at.globals, 'export', lab.container, '-o', archive, '--volume', lab.source]);
  const args = ['import', archive, '--to-volume', lab.at.name('target'), '--on-conflict', 'replace'];
  return inPlace(lab, args, lab.differs);
};

/** Copies to a new place each time. */
export const copyTo =
  (place: () => Promise<string>) =>
  async (lab: Laboratory): Promise<CrashCase> => {
    let to = '';
    const crash: CrashCase = {
      reset: async () => {
        to = await place();
        crash.args = ['copy', lab.container, '--to', to];
      },
      args: [],
      afterwards: async () => {
        const globals = ['-H', lab.at.host, '--repo', to, '--json'];
        const env = lab.at.env;
        const [snapshot, ...more] = JSON.parse((await volbakOk([...globals, 'snapshots'], { env })).stdout);
        expect(more).toEqual([]);
        const copied = lab.at.name('copied');
        await volbakOk([...globals, 'restore', snapshot.id, '--to-volume', copied, '--verify'], { env });
        expect(await lab.differs(copied)).toBe('');
        await lab.at.docker('volume', 'rm', copied);
      },
      volumes: [],
    };
    return crash;
  };

const ids = async (lab: Laboratory): Promise<string[]> =>
  (await lab.at.document('snapshots')).map(({ id }: { id: string }) => id);

/** Backs up a state with five megabytes that no other one has. */
async function backUpScratch({ at, source, container }: Laboratory): Promise<void> {
  await at.inside(source, 'head -c 5000000 /dev/urandom >scratch');
  await at.ok('backup', container);
  await at.inside(source, 'rm scratch');
}

const forgetting = async (lab: Laboratory): Promise<CrashCase> => {
  let before: string[] = [];
  return {
    reset: async () => {
      await lab.at.ok('backup', lab.container);
      await lab.at.ok('backup', lab.container);
      before = await ids(lab);
    },
    args: ['forget', '--keep-last', '2'],
    afterwards: async () => expect(await ids(lab)).toEqual(before.slice(-2)),
    volumes: [],
  };
};

/** Segments that are dead, and one that is mostly dead and is rewritten. */
const pruning = async (lab: Laboratory): Promise<CrashCase> => ({
  reset: async () => {
    await backUpScratch(lab);
    await lab.at.ok('backup', lab.container);
    await lab.at.ok('backup', lab.container);
    await lab.at.ok('forget', '--keep-last', '2');
  },
  args: ['prune', '--grace', '0s'],
  afterwards: async () => {
    await lab.at.ok('prune', '--grace', '0s');
    // What the killed one may still use waits until its session is certainly dead; all else comes to rest.
    expect(await lab.at.ok('prune', '--grace', '0s')).toMatchObject({ deleted: { segments: 0 } });
    expect((await lab.at.ok('verify')).errors).toEqual([]);
  },
  volumes: [],
  rewrites: true,
});

export const CASES: Record<string, (lab: Laboratory) => Promise<CrashCase>> = {
  'backup --stop': held('--stop'),
  'backup --pause': held('--pause'),
  migrate,
  'restore into a new volume': fresh,
  'restore --on-conflict replace': replace,
  'restore --on-conflict overlay': overlay,
  'import --on-conflict replace': importing,
  copy: copyTo(async () => path.join(await tempDir(), 'copy')),
  forget: forgetting,
  prune: pruning,
};

/** How often each is killed in `npm run soak`; 30 times the others. */
export const MOMENTS: Record<string, number> = { 'backup --stop': 50, 'backup --pause': 50, migrate: 50 };
