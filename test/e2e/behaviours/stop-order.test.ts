import { describe, expect, it } from 'vitest';
import { running, stateOf } from '../../support/running.ts';
import { haltedWhileReading, type Site, site } from '../../support/site.ts';

/** Labels as Compose gives them. */
const service = (name: string, dependsOn: string) =>
  [
    'com.docker.compose.project=shop',
    `com.docker.compose.service=${name}`,
    `com.docker.compose.depends_on=${dependsOn}`,
  ].flatMap((label) => ['--label', label]);

/** Containers in the order of a time that the engine notes. */
async function inOrder(at: Site, time: 'StartedAt' | 'FinishedAt', names: string[]): Promise<string[]> {
  const times = await at.docker('inspect', '-f', `{{.State.${time}}}`, ...names);
  const pairs = times.split('\n').map((text, i) => [text, names[i] as string] as const);
  return pairs.sort(([a], [b]) => (a < b ? -1 : 1)).map(([, name]) => name);
}

describe('containers are stopped in the order of their dependencies, and started in the opposite one', () => {
  it('Compose services, and who shares a network, which would be cut off else', async () => {
    const at = await site();
    const volume = await at.volume('v', 'echo 1 >file');
    const mount = ['-v', `${volume}:/data`];
    // Names and ages say nothing: the one that all need comes last by both.
    const app = await running(at, 'a-app', ...mount, ...service('app', 'db:service_started:false'));
    const db = await running(at, 'z-db', ...mount, ...service('db', ''));
    const sidecar = await running(at, 'b-sidecar', '--network', `container:${db}`);
    const apart = await running(at, 'c-apart');
    const before = await at.docker('inspect', '-f', '{{.State.StartedAt}}', apart);
    await at.ok('backup', '--volume', volume, '--stop');
    const all = [app, sidecar, db];
    expect((await inOrder(at, 'FinishedAt', all)).at(-1)).toBe(db);
    expect((await inOrder(at, 'StartedAt', all))[0]).toBe(db);
    for (const name of [...all, apart]) expect(await stateOf(at, name)).toBe('running');
    expect(await at.docker('inspect', '-f', '{{.State.StartedAt}}', apart)).toBe(before);
  });

  it('a container that was replaced meanwhile is found by its name; one that was removed is no error', async () => {
    const at = await site();
    const volume = await at.volume('v', 'head -c 200000000 /dev/zero >big');
    const replaced = await running(at, 'replaced', '-v', `${volume}:/data`);
    const removed = await running(at, 'removed', '-v', `${volume}:/data`);
    const args = ['backup', '--volume', volume, '--stop', '--full'];
    const result = await haltedWhileReading(at, 'big', args, async () => {
      await at.docker('rm', replaced, removed);
      const mount = ['-v', `${volume}:/data`, '--stop-signal', 'KILL'];
      await at.docker('create', '--network', 'none', '--name', replaced, ...mount, 'toolbox', 'sleep', '600');
    });
    expect(result.exit, result.stdout).toBe(0);
    expect(await stateOf(at, replaced)).toBe('running');
  });
});
