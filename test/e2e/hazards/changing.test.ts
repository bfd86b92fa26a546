import { spawn } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { mountpoint } from '../../support/engine.ts';
import { bash, haltedWhileReading, site, summary, warnings } from '../../support/site.ts';
import { random, rounds, seed } from '../../support/soak.ts';
import type { Json } from '../../support/volbak.ts';

const BIG = 'head -c 200000000 /dev/zero >a-big; echo last >z-last';

describe('a volume that changes while it is read', () => {
  it.each([
    ['pipe', 'grows', 'echo more >>a-big', 200_000_005],
    ['attach', 'shrinks', 'truncate -s 1000 a-big', 1000],
  ])(
    'lane %s: a file that %s and one that vanishes: partial, exit 3, both named',
    async (lane, _, change, size) => {
      const at = await site();
      const volume = await at.volume('v', `${BIG}; echo gone >m-gone; echo old >n-later; echo kept >o-kept`);
      const args = ['--lane', lane, 'backup', '--volume', volume];
      const result = await haltedWhileReading(at, 'a-big', args, async () => {
        await at.inside(volume, `${change}; rm m-gone; echo later >n-later; echo new >p-new`);
      });
      expect(result.exit).toBe(3);
      const { snapshots } = summary(result);
      expect(snapshots[0].status).toBe('partial');
      expect(snapshots[0].warnings.map((w: Json) => w.path).sort()).toEqual(['./a-big', './m-gone']);
      expect(warnings(result)).toHaveLength(2);
      expect(await at.document('show', 'latest')).toMatchObject({
        status: 'partial',
        warnings: expect.arrayContaining([expect.objectContaining({ path: './m-gone' })]),
      });

      // It restores all the same, and says that it is not whole. What changed before it was read is there as it was read.
      const restored = await at.run('restore', volume, '--to-volume', at.name('r'), '--verify');
      expect(restored.exit).toBe(3);
      expect(warnings(restored).join()).toContain('partial');
      expect(await at.inside(at.name('r'), 'cat n-later o-kept z-last; ls')).toBe(
        'later\nkept\nlast\na-big\nn-later\no-kept\nz-last',
      );

      // Once nothing writes any more, the next backup is complete.
      const { snapshots: next } = await at.ok('backup', '--volume', volume);
      expect(next[0].status).toBe('complete');
      await at.ok('restore', volume, '--to-volume', at.name('r2'));
      expect(await at.inside(at.name('r2'), 'stat -c %s a-big; ls')).toBe(
        `${size}\na-big\nn-later\no-kept\np-new\nz-last`,
      );
    },
  );

  it('a container that never stops appending to a log: the log is named, all else is complete', async () => {
    const at = await site();
    const volume = await at.volume('v', `head -c 60000000 /dev/zero >log`);
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

  it('files of many sizes appended, truncated, deleted, replaced and renamed all the while: what was hit is named', {
    timeout: 3_600_000,
  }, async () => {
    const from = seed();
    const chance = random(from);
    for (let round = 0; round < rounds(2, 40); round++) {
      const at = await site();
      const volume = await at.volume(
        'v',
        `mkdir moving still; for n in $(seq 120); do head -c $((n * n * 40)) /dev/urandom >moving/$n; cp moving/$n still/$n; done`,
      );
      const still = await at.inside(volume, 'cd still && md5sum * | sort');
      const dir = await mountpoint(at.host, volume);
      const writer = spawn('bash', ['-c', MUTATE, 'bash', String(Math.floor(chance() * 32_000))], {
        cwd: dir,
      });
      const result = await at.run('backup', '--volume', volume);
      writer.kill('SIGKILL');
      await bash('rm -f moving/*', { cwd: dir });
      const place = `VOLBAK_SEED=${from}, round ${round}: ${result.stdout}`;
      expect([0, 3], place).toContain(result.exit);
      const [snapshot] = summary(result).snapshots;
      // What find could not see any more is told in a message alone.
      const named: string[] = snapshot.warnings.map((w: Json) => w.path ?? w.message);
      expect(
        named.filter((name) => !name.includes('./moving')),
        place,
      ).toEqual([]);
      expect(snapshot.status, place).toBe(named.length > 0 ? 'partial' : 'complete');
      expect(result.exit, place).toBe(named.length > 0 ? 3 : 0);
      // The tar was read to its end: all else is there, and what is stored holds together.
      await at.ok('verify');
      expect([0, 3]).toContain(
        (await at.run('restore', volume, '--to-volume', at.name('r'), '--verify')).exit,
      );
      expect(await at.inside(at.name('r'), 'cd still && md5sum * | sort'), place).toBe(still);
    }
  });
});

/** Does something to a file after another, as fast as it can. */
const MUTATE = `RANDOM=$1; cd moving; while :; do n=$((RANDOM % 120 + 1)); case $((RANDOM % 6)) in
  0) echo more >>$n ;; 1) : >$n ;; 2) rm -f $n ;; 3) head -c 50000 /dev/zero >.new; mv -f .new $n ;;
  4) mv -f $n $((RANDOM % 120 + 1)) 2>/dev/null ;; 5) ln -f $n $((n % 120 + 1)) 2>/dev/null ;; esac; done`;
