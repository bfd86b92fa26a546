import { createHash } from 'node:crypto';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { changingAtStop, running, stateOf } from '../../support/running.ts';
import { eventually } from '../../support/scene.ts';
import { failure, helpers, type Site, site, summary, warnings } from '../../support/site.ts';
import { tempDir } from '../../support/temp.ts';
import { SMALL_TREE } from '../../support/trees.ts';
import { type Json, volbakOk } from '../../support/volbak.ts';

/** SHA-256 of the newest snapshot's tar of a volume. */
async function tarOf(globals: readonly string[], volume: string): Promise<string> {
  const { stdoutBytes } = await volbakOk([...globals, 'export', 'latest', '--volume', volume]);
  return createHash('sha256').update(stdoutBytes).digest('hex');
}

/** What a new repository gets of volumes that nobody uses: everything read. */
async function fullBackup(at: Site, ...volumes: string[]) {
  const globals = ['-H', at.host, '--repo', path.join(await tempDir(), 'other')];
  const args = volumes.flatMap((volume) => ['--volume', volume]);
  const { snapshots } = summary(await volbakOk([...globals, '--json', 'backup', ...args, '--full']));
  return { globals, volumes: snapshots.flatMap((snapshot: Json) => snapshot.volumes) };
}

const starts = (json: Json[]) =>
  json
    .filter(({ event }) => event === 'volume-start')
    .map(({ volume, action, entries }) => ({ volume, action, entries }));

/** What a hard life changes: contents, names, kinds, links, owners, attributes. */
const CHANGES = `rm -r gone becomes-dir; mkdir becomes-dir; echo f >becomes-dir/file; echo SAME-size >content
  touch -d @1700000000 content; mv swap-a t; mv swap-b swap-a; mv t swap-b; echo more >>link-2; ln link-1 link-4
  rm single; echo alone >single; setfattr -x user.gone kept; chown 5:6 "a b"; chmod 700 empty; setfacl -m u:9:rw random
  dd if=/dev/urandom of=large bs=1000 seek=9000 count=1 conv=notrunc status=none; sync`;
const TREE = `${SMALL_TREE}
  mkdir -p gone/deep swap-a swap-b untouched; for d in gone/deep swap-a swap-b untouched; do echo $d >$d/file; done
  echo x >becomes-dir; echo same-size >content; echo l >link-1; ln link-1 link-2; ln link-1 untouched/link-3
  echo s >single; ln single single-2; mkdir kept; setfattr -n user.gone -v 1 kept; head -c 20000000 /dev/urandom >large
  for n in $(seq 500); do echo $n >untouched/$n; done; find . -exec touch -hd @1700000000 {} +; sleep 4`;

describe('backup --stop and --pause read all while it is in use, and only what changed since while it stands still', () => {
  it('the tar is byte for byte that of a full backup of the stopped state', async () => {
    const at = await site();
    const volume = await at.volume('data', TREE);
    const app = await changingAtStop(at, volume, CHANGES);
    const result = await at.run('backup', app, '--stop');
    expect(result.exit, result.stdout).toBe(0);
    expect(await stateOf(at, app)).toBe('running');
    const [live, rest] = starts(result.json);
    expect(live).toMatchObject({ volume, action: 'read while in use' });
    expect(rest).toMatchObject({ volume, action: 'read the rest' });
    expect(rest?.entries).toBeGreaterThan(0);
    expect(rest?.entries).toBeLessThan(live?.entries / 2);
    const [snapshot] = summary(result).snapshots;
    expect(snapshot.status).toBe('complete');
    expect(snapshot.downtimeMs).toBeGreaterThan(0);
    expect(snapshot.downtimeMs).toBeLessThan(snapshot.durationMs);
    await at.docker('kill', app);
    const full = await fullBackup(at, volume);
    const { digest, entries, tarBytes } = full.volumes[0];
    expect(snapshot.volumes[0]).toMatchObject({ digest, entries, tarBytes });
    expect(snapshot.volumes[0].readBytes).toBeGreaterThan(tarBytes);
    const globals = ['-H', at.host, '--repo', at.repo];
    expect(await tarOf(globals, volume)).toBe(await tarOf(full.globals, volume));
    await at.ok('verify');
    await at.ok('restore', app, '--to-volume', at.name('back'), '--verify');
  });

  it('several volumes, with an earlier snapshot: each ends as a full backup would', async () => {
    const at = await site();
    const data = await at.volume('data', TREE);
    const more = await at.volume('more', 'for n in $(seq 200); do echo $n >$n; done; sleep 4');
    const app = await running(at, 'app', '-v', `${data}:/data`, '-v', `${more}:/more`);
    await at.ok('backup', app);
    await at.inside(data, CHANGES);
    await at.inside(more, 'echo changed >7');
    const { snapshots } = await at.ok('backup', app, '--pause');
    expect(await stateOf(at, app)).toBe('running');
    const full = await fullBackup(at, data, more);
    const digests = (volumes: Json[]) => Object.fromEntries(volumes.map((v) => [v.name, v.digest]));
    expect(digests(snapshots[0].volumes)).toEqual(digests(full.volumes));
    expect(snapshots[0].volumes.find((v: Json) => v.name === data).newBytes).toBeLessThan(6_000_000);
    const after = await at.ok('backup', app);
    expect(digests(after.snapshots[0].volumes)).toEqual(digests(full.volumes));
  });

  it('what is written all the time makes no partial snapshot: it stands still when it counts', async () => {
    const at = await site();
    const volume = await at.volume('data', 'head -c 30000000 /dev/urandom >z-large; sleep 3');
    const name = at.name('app');
    const script = 'n=0; while :; do n=$((n + 1)); echo $n >/data/count; echo $n >>/data/log; done';
    await at.docker(
      'run',
      '-d',
      '--network',
      'none',
      '--name',
      name,
      '-v',
      `${volume}:/data`,
      'toolbox',
      'sh',
      '-c',
      script,
    );
    const result = await at.run('backup', name, '--pause');
    expect(result.exit, result.stdout).toBe(0);
    expect(warnings(result)).toEqual([]);
    await at.ok('restore', name, '--to-volume', at.name('back'), '--verify');
    const last = Number(await at.inside(at.name('back'), 'tail -n 1 log'));
    // The shell was frozen between two writes, or in the middle of one.
    const count = Number(await at.inside(at.name('back'), 'cat count'));
    expect([last, last + 1, 0]).toContain(count);
  });

  it('a slow store does not keep the containers waiting', async () => {
    const at = await site();
    const volume = await at.volume('data', 'echo 1 >small; sleep 4');
    const app = await changingAtStop(at, volume, 'head -c 12000000 /dev/urandom >new; sync');
    const { snapshots } = await at.ok('--limit-upload', '1M', 'backup', app, '--stop');
    const [{ downtimeMs, durationMs, volumes }] = snapshots;
    expect(volumes[0].storedBytes).toBeGreaterThan(12_000_000);
    expect(durationMs).toBeGreaterThan(11_000);
    expect(downtimeMs).toBeLessThan(durationMs / 2);
    await at.ok('restore', app, '--to-volume', at.name('back'), '--verify');
  });

  it('where nobody runs nothing is read twice, and the downtime is 0; without the options there is none', async () => {
    const at = await site();
    const volume = await at.volume('data', 'echo 1 >file');
    const result = await at.run('backup', '--volume', volume, '--stop');
    expect(starts(result.json)).toHaveLength(1);
    expect(summary(result).snapshots[0].downtimeMs).toBe(0);
    expect((await at.ok('backup', '--volume', volume)).snapshots[0]).not.toHaveProperty('downtimeMs');
  });

  it('with --include-binds also who uses a host directory stands still', async () => {
    const at = await site();
    const directory = await tempDir();
    const app = await running(at, 'app', '-v', `${directory}:/host`);
    const other = await running(at, 'other', '-v', `${directory}:/elsewhere`);
    const result = await at.run('backup', app, '--include-binds', '--pause');
    expect(result.exit, result.stdout).toBe(0);
    const told = result.json.filter(({ event }) => event === 'info').map(({ message }) => message);
    expect(told.join()).toMatch(new RegExp(`paused for .*: .*(${app}, ${other}|${other}, ${app})`));
    expect(await stateOf(at, app)).toBe('running');
  });

  it('a volume in memory is not stopped away: exit 2, and nothing happened', async () => {
    const at = await site();
    const memory = ['--opt', 'type=tmpfs', '--opt', 'device=tmpfs', '--driver', 'local'];
    await at.docker('volume', 'create', ...memory, at.name('memory'));
    const app = await running(at, 'app', '-v', `${at.name('memory')}:/data`);
    await at.docker('exec', app, 'sh', '-c', 'echo precious >/data/file');
    const refused = await at.run('backup', app, '--stop');
    expect(refused.exit).toBe(2);
    expect(failure(refused)).toMatchObject({ hint: expect.stringContaining('--pause') });
    await at.ok('backup', app, '--pause');
    expect(await at.docker('exec', app, 'cat', '/data/file')).toBe('precious');
  });

  it('SIGTERM while it stands still: it runs again at once', async () => {
    const at = await site();
    const volume = await at.volume('data', 'echo 1 >small; sleep 3');
    const app = await changingAtStop(at, volume, 'head -c 200000000 /dev/zero >new');
    const child = await at.start('backup', app, '--stop');
    child.stdin.end();
    const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
    await eventually('stopped', async () => (await stateOf(at, app)) === 'exited');
    child.kill('SIGTERM');
    expect(await ended).toBe(143);
    expect(await stateOf(at, app)).toBe('running');
    expect(await helpers(at.host)).toBe('');
    expect(await at.document('snapshots')).toEqual([]);
  });
});
