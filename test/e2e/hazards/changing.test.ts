import { describe, expect, it } from 'vitest';
import { haltedDuring, site, summary, warnings } from '../../support/site.ts';
import type { Json } from '../../support/volbak.ts';

const BIG = 'head -c 40000000 /dev/urandom >a-big; echo last >z-last';

describe('a volume that changes while it is read', () => {
  it.each(['pipe', 'attach'])(
    'lane %s: a file that grows, one that vanishes, one that shrinks: partial, exit 3, each named',
    async (lane) => {
      const at = await site();
      const volume = await at.volume(
        'v',
        `${BIG}; echo gone >m-gone; head -c 3000000 /dev/urandom >n-shrinks; echo kept >o-kept`,
      );
      const result = await haltedDuring(
        at,
        'read',
        ['--lane', lane, 'backup', '--volume', volume],
        async () => {
          await at.inside(
            volume,
            'echo more >>a-big; rm m-gone; truncate -s 1000 n-shrinks; echo new >p-new',
          );
        },
      );
      expect(result.exit).toBe(3);
      const { snapshots } = summary(result);
      expect(snapshots[0].status).toBe('partial');
      const named = snapshots[0].warnings.map((w: Json) => w.path);
      expect(named).toEqual(expect.arrayContaining(['./a-big', './m-gone', './n-shrinks']));
      expect(named).not.toContain('./o-kept');
      expect(warnings(result).length).toBeGreaterThanOrEqual(3);
      const shown = await at.document('show', 'latest');
      expect(shown).toMatchObject({
        status: 'partial',
        warnings: expect.arrayContaining([expect.objectContaining({ path: './m-gone' })]),
      });

      // It restores all the same, and says that it is not whole.
      const restored = await at.run('restore', volume, '--to-volume', at.name('r'), '--verify');
      expect(restored.exit).toBe(3);
      expect(warnings(restored).join()).toContain('partial');
      expect(await at.inside(at.name('r'), 'cat o-kept z-last; ls')).toBe(
        'kept\nlast\na-big\nn-shrinks\no-kept\nz-last',
      );

      // Once nothing writes any more, the next backup is complete.
      const { snapshots: next } = await at.ok('backup', '--volume', volume);
      expect(next[0].status).toBe('complete');
      await at.ok('restore', volume, '--to-volume', at.name('r2'), '--verify');
      expect(await at.inside(at.name('r2'), 'stat -c %s a-big n-shrinks; ls')).toBe(
        '40000005\n1000\na-big\nn-shrinks\no-kept\np-new\nz-last',
      );
    },
  );

  it('a container that never stops appending to a log: the log is named, all else is complete', async () => {
    const at = await site();
    const volume = await at.volume('v', `${BIG}; head -c 60000000 /dev/urandom >log`);
    await at.docker(
      'run',
      '-d',
      '--network',
      'none',
      '--name',
      at.name('writer'),
      '-v',
      `${volume}:/data`,
      'toolbox',
      'sh',
      '-c',
      'while :; do echo line >>/data/log; done',
    );
    const result = await at.run('backup', at.name('writer'));
    expect(result.exit).toBe(3);
    const { snapshots } = summary(result);
    expect(snapshots[0].warnings.map((w: Json) => w.path)).toEqual(['./log']);
    // The way out: nobody writes while it is paused.
    const paused = await at.ok('backup', at.name('writer'), '--pause');
    expect(paused.snapshots[0].status).toBe('complete');
    await at.docker('rm', '-f', at.name('writer'));
  });
});
