import { beforeAll, describe, expect, test } from 'vitest';
import { docker, inVolume } from '../../support/engine.ts';
import { type OwnEngine, ownEngine } from '../../support/own-engine.ts';
import { bigVolume, helpers, makeScene, manifests, type Scene, start, volumes } from '../../support/scene.ts';
import { volbakOk } from '../../support/volbak.ts';

let engine: OwnEngine;
let scene: Scene;
let volume: string;

// An engine of its own: it is ended in the middle of things.
beforeAll(async () => {
  engine = await ownEngine();
  scene = await makeScene(engine.host);
  scene.options.push('--helper-image', 'toolbox');
  volume = await bigVolume(scene, 'big', 300);
  await volbakOk([...scene.options, 'backup', '--volume', volume]);
});

describe.each(['SIGTERM', 'SIGKILL'] as const)('the engine ended by %s in the middle', (signal) => {
  test.each([
    ['backup', 'pipe'],
    ['backup', 'attach'],
    ['restore', 'pipe'],
    ['replace', 'pipe'],
  ])(
    'of a %s (%s): a clear error within 30 s, and the next command sweeps what is left',
    async (what, lane) => {
      const target = scene.name('restored');
      const args =
        what === 'backup'
          ? ['backup', '--volume', volume, '--full']
          : ['restore', volume, '--to-volume', target, '--on-conflict', 'replace'];
      if (what === 'replace') await inVolume(scene.host, target, 'echo old >old');
      const running = await start([...scene.options, '--lane', lane, ...args]);
      await running.event((e) => e.event === 'progress');
      const again = await engine.end(signal);
      const { exit, json, stderr } = await running.end(30_000);
      await again();
      expect([20, 22], `${JSON.stringify(json)} ${stderr}`).toContain(exit);
      expect(json.at(-1).event).toBe('error');
      expect(json.at(-1).message).toMatch(/engine|helper/);
      expect(await manifests(scene.repository)).toHaveLength(1);

      await volbakOk([...scene.options, 'backup', '--volume', volume, '--dry-run']);
      expect(await helpers(scene.host)).toEqual([]);
      if (what !== 'replace') {
        expect(await volumes(scene.host, target)).toEqual([]);
        return;
      }
      expect(await inVolume(scene.host, target, 'ls -A; cat old')).toBe('old\nold');
      await docker(scene.host, 'volume', 'rm', target);
    },
  );
});
