import { describe, expect, it } from 'vitest';
import { dockerOk } from '../../support/engine.ts';
import { changingAtStop, stateOf } from '../../support/running.ts';
import { helperAtWork, helpers, type Site } from '../../support/site.ts';
import { finished } from '../../support/volbak.ts';
import { type TwoEngines, twoEngines } from './support.ts';

/** A volume that takes a while, and a container that writes as much again when it is stopped. */
async function slowCase(): Promise<TwoEngines & { volume: string; app: string }> {
  const two = await twoEngines();
  const volume = await two.at.volume(
    'data',
    'head -c 150000000 /dev/urandom >large; echo 1 >small; ln small linked',
  );
  const app = await changingAtStop(two.at, volume, 'cp large again; echo 2 >small; sync');
  return { ...two, volume, app };
}

async function until(what: string, holds: () => Promise<boolean>): Promise<void> {
  const end = Date.now() + 60_000;
  while (!(await holds())) if (Date.now() > end) throw new Error(`not within a minute: ${what}`);
}

const MOMENTS: [string, (at: Site, other: string, app: string) => Promise<unknown>][] = [
  ['in the live pass', (_, other) => helperAtWork(other, 'extract')],
  ['while the target is proven', (_, other) => helperAtWork(other, 'read')],
  [
    'when the containers are stopped',
    (at, _, app) => until('stopped', async () => (await stateOf(at, app)) === 'exited'),
  ],
  [
    'in the second pass',
    async (at, other, app) => {
      await until('stopped', async () => (await stateOf(at, app)) === 'exited');
      await helperAtWork(other, 'extract');
    },
  ],
];

describe('a migration that is interrupted: the source runs again, the target has no half of a volume', () => {
  it.each(MOMENTS)(
    'kill -9 %s: after the next command, which can be the same migration',
    async (_, moment) => {
      const { at, other, app, volume, differences } = await slowCase();
      const child = await at.start('migrate', app, '--to-host', other);
      child.stdin.end();
      const end = finished(child);
      await moment(at, other, app);
      child.kill('SIGKILL');
      expect((await end).exit).toBe(137);
      await at.ok('migrate', app, '--to-host', other, '--dry-run');
      expect(await stateOf(at, app)).toBe('running');
      expect(await dockerOk(other, 'volume', 'inspect', volume)).toBe(false);
      expect(await helpers(at.host)).toBe('');
      expect(await helpers(other)).toBe('');
      await at.ok('migrate', app, '--to-host', other, '--keep-source-stopped');
      expect(await differences(volume)).toBe('');
    },
  );

  it.each(MOMENTS)('SIGTERM %s: at once, and the exit code is 143', async (_, moment) => {
    const { at, other, app, volume } = await slowCase();
    const child = await at.start('migrate', app, '--to-host', other);
    child.stdin.end();
    const end = finished(child);
    await moment(at, other, app);
    child.kill('SIGTERM');
    expect((await end).exit).toBe(143);
    expect(await stateOf(at, app)).toBe('running');
    expect(await dockerOk(other, 'volume', 'inspect', volume)).toBe(false);
    expect(await helpers(at.host)).toBe('');
    expect(await helpers(other)).toBe('');
  });

  it('a helper that is killed: an error, the source runs again, an empty target that was there stays empty', async () => {
    const { at, other, app, volume, there } = await slowCase();
    await there('volume', 'create', volume);
    const child = await at.start('migrate', app, '--to-host', other);
    child.stdin.end();
    const end = finished(child);
    await until('stopped', async () => (await stateOf(at, app)) === 'exited');
    await there('kill', await helperAtWork(other, 'extract'));
    expect((await end).exit).toBe(22);
    expect(await stateOf(at, app)).toBe('running');
    const left = await there(
      'run',
      '--rm',
      '--network',
      'none',
      '-v',
      `${volume}:/data`,
      'busybox',
      'ls',
      '-A',
      '/data',
    );
    expect(left).toBe('');
    expect(await helpers(other)).toBe('');
  });
});
