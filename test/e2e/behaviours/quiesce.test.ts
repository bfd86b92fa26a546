import { describe, expect, it } from 'vitest';
import { running } from '../../support/running.ts';
import { failure, haltedWhileReading, type Site, site } from '../../support/site.ts';
import { type Json, volbakOk } from '../../support/volbak.ts';

const states = async (at: Site, ...suffixes: string[]) =>
  (await at.docker('inspect', '-f', '{{.State.Status}}', ...suffixes.map((s) => at.name(s)))).split('\n');

describe('two containers may write one volume: --stop and --pause are for all that use it, not only the named one', () => {
  it.each([
    ['--stop', 'exited'],
    ['--pause', 'paused'],
  ])(
    '%s --full: all are %s while the volume is read, and all run afterwards; a stopped one is not started',
    async (option, halted) => {
      const at = await site();
      const volume = await at.volume('v', 'head -c 200000000 /dev/zero >big');
      await running(at, 'named', '-v', `${volume}:/data`);
      await running(at, 'other', '-v', `${volume}:/elsewhere:ro`);
      await running(at, 'unrelated');
      await at.container('stopped', '-v', `${volume}:/data`, 'toolbox', 'sleep', '600');
      const all = ['named', 'other', 'unrelated', 'stopped'];
      const args = ['backup', at.name('named'), option, '--full'];
      const result = await haltedWhileReading(at, 'big', args, async () => {
        expect(await states(at, ...all)).toEqual([halted, halted, 'running', 'created']);
      });
      expect(result.exit).toBe(0);
      expect(await states(at, ...all)).toEqual(['running', 'running', 'running', 'created']);
    },
  );

  it('a container of `docker run --rm` is not stopped, as it would be gone with its anonymous volumes', async () => {
    const at = await site();
    const volume = await at.volume('v', 'echo 1 >file');
    await running(at, 'rm', '--rm', '-v', `${volume}:/data`, '-v', '/anonymous');
    const result = await at.run('backup', at.name('rm'), '--stop');
    expect(result.exit).toBe(2);
    expect(failure(result)).toMatchObject({
      message: expect.stringContaining('--rm'),
      hint: expect.stringContaining('--pause'),
    });
    expect(await states(at, 'rm')).toEqual(['running']);
    await at.ok('backup', at.name('rm'), '--pause');
    expect(await states(at, 'rm')).toEqual(['running']);
  });

  it('restore --stop stops the users of the target meanwhile; without it they are named', async () => {
    const at = await site();
    const volume = await at.volume('v', 'echo old >file');
    await running(at, 'user', '-v', `${volume}:/data`);
    await at.ok('backup', '--volume', volume);
    const started = () => at.docker('inspect', '-f', '{{.State.StartedAt}}', at.name('user'));
    const before = await started();
    const warned = await volbakOk([...at.globals, 'restore', volume, '--on-conflict', 'replace']);
    expect(warned.json.find((e: Json) => e.event === 'warning')?.message).toContain(at.name('user'));
    expect(await started()).toBe(before);
    await at.ok('restore', volume, '--on-conflict', 'replace', '--stop');
    expect(await started()).not.toBe(before);
    expect(await states(at, 'user')).toEqual(['running']);
    expect(await at.docker('exec', at.name('user'), 'cat', '/data/file')).toBe('old');
  });

  it('restore --stop starts all again when it is refused or fails', async () => {
    const at = await site();
    const volume = await at.volume('v', 'echo old >file');
    await running(at, 'user', '-v', `${volume}:/data`);
    await at.ok('backup', '--volume', volume);
    expect((await at.run('restore', volume, '--stop')).exit).toBe(24);
    expect(await states(at, 'user')).toEqual(['running']);
    expect(
      (await at.run('restore', volume, '--stop', '--on-conflict', 'replace', '--path', 'no-such')).exit,
    ).toBe(10);
    expect(await states(at, 'user')).toEqual(['running']);
    expect(await at.inside(volume, 'ls -A; cat file')).toBe('file\nold');
  });
});
