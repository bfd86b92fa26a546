import { beforeAll, describe, expect, test } from 'vitest';
import { docker, inVolume } from '../../support/engine.ts';
import {
  bigSavedScene,
  eventually,
  expectNothingLeft,
  helpers,
  type Scene,
  start,
  volumes,
} from '../../support/scene.ts';

let scene: Scene;
let volume: string;

beforeAll(async () => {
  ({ scene, volume } = await bigSavedScene(300));
});

const killHelper = (purpose: string) =>
  eventually(`a running helper (${purpose})`, async () => {
    const [id] = await helpers(scene.host, purpose);
    return (
      id !== undefined &&
      docker(scene.host, 'kill', id).then(
        () => true,
        () => false,
      )
    );
  });

describe.each(['pipe', 'attach'])('a helper killed in the middle, lane %s', (lane) => {
  test('ends a backup with exit 22: no manifest, no helper', async () => {
    const running = await start([...scene.options, '--lane', lane, 'backup', '--volume', volume, '--full']);
    await running.event((e) => e.event === 'volume-start');
    await killHelper('read');
    const { exit, json } = await running.end();
    expect(json.at(-1)).toMatchObject({ event: 'error', code: 'HELPER_FAILED', exit: 22 });
    expect(json.at(-1).message).toContain('exit code 137');
    expect(json.at(-1).hint).toContain('killed');
    expect(exit).toBe(22);
    await expectNothingLeft(scene, running, 1);
  });

  test('that waits while the volume is listed ends a backup with exit 22, too', async () => {
    const many = scene.name(`many-${lane}`);
    await docker(scene.host, 'volume', 'create', many);
    await inVolume(scene.host, many, 'seq 100000 | xargs touch');
    const running = await start([...scene.options, '--lane', lane, 'backup', '--volume', many]);
    await killHelper('read');
    const { exit, json } = await running.end();
    expect(json.at(-1)).toMatchObject({ event: 'error', code: 'HELPER_FAILED', exit: 22 });
    expect(json.at(-1).message).toContain('exit code 137');
    expect(exit).toBe(22);
    await expectNothingLeft(scene, running, 1);
  });

  test('ends a restore with exit 22: no volume, no helper', async () => {
    const target = scene.name(`restored-${lane}`);
    const running = await start([...scene.options, '--lane', lane, 'restore', volume, '--to-volume', target]);
    await running.event((e) => e.event === 'progress');
    await killHelper('extract');
    const { exit, json } = await running.end();
    expect(json.at(-1)).toMatchObject({ event: 'error', code: 'HELPER_FAILED', exit: 22 });
    expect(json.at(-1).message).toContain('137');
    expect(exit).toBe(22);
    await expectNothingLeft(scene, running, 1);
    expect(await volumes(scene.host, target)).toEqual([]);
  });

  test('ends a restore over old content with exit 22: the old content is as it was', async () => {
    const target = scene.name(`old-${lane}`);
    await docker(scene.host, 'volume', 'create', target);
    await inVolume(scene.host, target, 'mkdir d; echo old >d/old; touch -d @1400000000 d .');
    const look = () => inVolume(scene.host, target, "find . -printf '%p %i %s %T@\\n'; cat d/old");
    const before = await look();
    const args = ['restore', volume, '--to-volume', target, '--on-conflict', 'replace'];
    const running = await start([...scene.options, '--lane', lane, ...args]);
    await running.event((e) => e.event === 'progress');
    await killHelper('extract');
    const { exit } = await running.end();
    expect(exit).toBe(22);
    await expectNothingLeft(scene, running, 1);
    expect(await look()).toBe(before);
  });
});
