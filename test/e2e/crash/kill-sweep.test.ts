import { rm } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { docker, dockerOk, mountpoint } from '../../support/engine.ts';
import { rounds } from '../../support/soak.ts';
import { tempDir } from '../../support/temp.ts';
import { treeDifferences } from '../../support/trees.ts';
import { volbak, volbakOk } from '../../support/volbak.ts';
import { type CrashCase, type Laboratory, laboratory, OLD, sweep } from './laboratory.ts';

// A case is a name and how to make it; further commands (forget, prune) join by an entry here.

const backup = async ({ source, container }: Laboratory): Promise<CrashCase> => ({
  reset: async () => {},
  args: ['backup', container, '--stop'],
  afterwards: async () => expect(source).not.toBe(''),
  volumes: [],
});

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

const copy = async (lab: Laboratory): Promise<CrashCase> => {
  const other = path.join(await tempDir(), 'copy');
  const globals = ['-H', lab.at.host, '--repo', other, '--json'];
  return {
    reset: () => rm(other, { recursive: true, force: true }),
    args: ['copy', lab.container, '--to', other],
    afterwards: async () => {
      const [snapshot, ...more] = JSON.parse((await volbakOk([...globals, 'snapshots'])).stdout);
      expect(more).toEqual([]);
      await volbakOk([...globals, 'restore', snapshot.id, '--to-volume', lab.at.name('copied'), '--verify'], {
        env: lab.at.env,
      });
      expect(await lab.differs(lab.at.name('copied'))).toBe('');
      await lab.at.docker('volume', 'rm', lab.at.name('copied'));
    },
    volumes: [],
  };
};

export const CASES: Record<string, (lab: Laboratory) => Promise<CrashCase>> = {
  'backup --stop': backup,
  'restore into a new volume': fresh,
  'restore --on-conflict replace': replace,
  'restore --on-conflict overlay': overlay,
  'import --on-conflict replace': importing,
  copy,
};

describe('kill -9 of volbak at any moment: the next command succeeds, all snapshots are whole, nothing is left', () => {
  test.each(Object.keys(CASES))('%s', { timeout: 3_600_000 }, async (name) => {
    const lab = await laboratory();
    await sweep(lab, await (CASES[name] as (typeof CASES)[string])(lab), rounds(2, 30));
  });
});

describe('a helper killed at any moment: the next command succeeds, all snapshots are whole, nothing is left', () => {
  test.each(['backup --stop', 'restore --on-conflict replace'])(
    '%s',
    { timeout: 3_600_000 },
    async (name) => {
      const lab = await laboratory();
      await sweep(lab, await (CASES[name] as (typeof CASES)[string])(lab), rounds(1, 20), 'helper');
    },
  );
});
