import { describe, expect, it } from 'vitest';
import { mountpoint } from '../../support/engine.ts';
import { bash, failure, helpers, site } from '../../support/site.ts';
import { treeDifferences } from '../../support/trees.ts';
import type { Json } from '../../support/volbak.ts';

describe('trees of unusual shape', () => {
  it('a path 300 directories deep and 20,000 small files come back', async () => {
    const at = await site();
    const volume = await at.volume(
      'v',
      `perl -e 'my $d = "deep"; mkdir $d; for (1 .. 300) { $d .= "/d$_"; mkdir $d or die $! } open(my $f, ">", "$d/file"); print $f "end";
         mkdir "small"; for my $n (1 .. 20000) { mkdir "small/" . int($n / 500) if $n % 500 == 0 || $n == 1; open(my $g, ">", "small/" . int($n / 500) . "/f$n") or die $!; print $g "x" x ($n % 700) }'
       chown -R 1000:1000 deep`,
    );
    const { snapshots } = await at.ok('backup', '--volume', volume);
    expect(snapshots[0].volumes[0].entries).toBe(20_000 + 41 + 301 + 3);
    await at.ok('restore', volume, '--to-volume', at.name('r'), '--verify');
    expect(
      await treeDifferences(await mountpoint(at.host, volume), await mountpoint(at.host, at.name('r'))),
    ).toBe('');
    await at.inside(volume, 'echo changed >small/7/f3600');
    const again = (await at.ok('backup', '--volume', volume)).snapshots[0].volumes[0];
    expect(again.newBytes).toBeGreaterThan(0);
    expect(again.newBytes).toBeLessThan(1_000_000);
  });
});

describe('what is backed up can be chosen', () => {
  it('--exclude: by name anywhere, by path from the root, and a directory with all that is below it', async () => {
    const at = await site();
    const volume = await at.volume(
      'v',
      'mkdir -p cache/deep sub/cache "[x]"; touch a.tmp .hidden.tmp keep sub/b.tmp sub/keep cache/deep/file sub/cache/file "[x]/file"',
    );
    const { snapshots } = await at.ok(
      'backup',
      '--volume',
      volume,
      '--exclude',
      '*.tmp',
      '--exclude',
      '/cache',
      '--exclude',
      'sub/cache/**',
    );
    const listed = (await at.document('ls', snapshots[0].id)).map((m: Json) => m.path);
    expect(listed).toEqual(
      expect.arrayContaining(['.', './[x]', './[x]/file', './keep', './sub', './sub/keep']),
    );
    expect(listed.filter((path: string) => /tmp|deep|cache\/file/.test(path))).toEqual([]);
    expect(snapshots[0].status).toBe('complete');
  });

  it('--only: by name or mount path; an unknown one is exit 21 and names those there are', async () => {
    const at = await site();
    const a = await at.volume('a', 'echo a >file');
    const b = await at.volume('b', 'echo b >file');
    await at.container('c', '-v', `${a}:/a`, '-v', `${b}:/b`, 'busybox', 'true');
    for (const only of [b, '/b']) {
      const { snapshots } = await at.ok('backup', at.name('c'), '--only', only);
      expect(snapshots[0].volumes.map((v: Json) => v.name)).toEqual([b]);
    }
    const result = await at.run('backup', at.name('c'), '--only', '/c');
    expect(result.exit).toBe(21);
    expect(failure(result).hint).toContain(`${a} (/a)`);
  });

  it('--all: every container that has volumes, and no other', async () => {
    const at = await site();
    const a = await at.volume('a', 'echo a >file');
    await at.container('c1', '-v', `${a}:/a`, 'busybox', 'true');
    await at.container('c2', '-v', `${a}:/b`, 'busybox', 'true');
    await at.container('c3', 'busybox', 'true');
    const { snapshots } = await at.ok('backup', '--all');
    const own = snapshots
      .map((s: Json) => s.source.split('/').at(-1))
      .filter((name: string) => name.startsWith(at.name()));
    expect(own).toEqual([at.name('c1'), at.name('c2')]);
  });

  it('--tag is kept with the snapshot', async () => {
    const at = await site();
    const volume = await at.volume('v');
    await at.ok('backup', '--volume', volume, '--tag', 'release=1.2', '--tag', 'why=before = after');
    expect((await at.document('snapshots'))[0].tags).toEqual({ release: '1.2', why: 'before = after' });
    expect((await at.run('backup', '--volume', volume, '--tag', 'no-value')).exit).toBe(2);
  });

  it('--dry-run says what would be read, and makes neither repository nor snapshot', async () => {
    const at = await site();
    const volume = await at.volume('v', 'echo 12345 >file; touch a.tmp');
    const dry = await at.ok('backup', '--volume', volume, '--dry-run', '--exclude', '*.tmp');
    expect(dry).toMatchObject({
      dryRun: true,
      plan: [{ volumes: [{ name: volume, entries: 2, bytes: 6, excluded: 1 }] }],
    });
    expect(await bash(`ls -A '${at.repo}' 2>/dev/null || true`)).toBe('');
    expect(await helpers(at.host)).toBe('');
  });
});
