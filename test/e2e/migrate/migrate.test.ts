import { describe, expect, it } from 'vitest';
import { dockerOk, mountpoint } from '../../support/engine.ts';
import { changingAtStop, running, stateOf } from '../../support/running.ts';
import { bash, failure, helpers, warnings } from '../../support/site.ts';
import { SMALL_TREE } from '../../support/trees.ts';
import { twoEngines } from './support.ts';

const DIGEST = /^[0-9a-f]{64}$/;

describe('migrate moves volumes to another engine', () => {
  it('a container that runs: all its volumes with labels; it runs again afterwards, and the downtime is told', async () => {
    const { at, other, differences, there } = await twoEngines();
    const data = await at.volume('data', SMALL_TREE, '--label', 'of=shop');
    const more = await at.volume('more', 'echo more >file');
    const app = await running(at, 'app', '-v', `${data}:/data`, '-v', `${more}:/more`, '-v', '/anonymous');
    const done = await at.ok('migrate', app, '--to-host', other, '--rename', `${more}=${at.name('renamed')}`);
    const names = done.volumes.map((volume: { name: string }) => volume.name);
    expect(names.sort()).toEqual([`${app}_anonymous`, data, at.name('renamed')].sort());
    for (const volume of done.volumes) {
      expect(volume).toMatchObject({ passes: 2, compared: 'all', digest: expect.stringMatching(DIGEST) });
      expect(volume.downtimeMs).toBeGreaterThan(0);
    }
    expect(done.stopped).toEqual([app]);
    expect(await differences(data)).toBe('');
    expect(await differences(more, at.name('renamed'))).toBe('');
    expect(await there('volume', 'inspect', '-f', '{{index .Labels "of"}}', data)).toBe('shop');
    expect(await stateOf(at, app)).toBe('running');
    expect(await dockerOk(other, 'inspect', app)).toBe(false);
    expect(await helpers(at.host)).toBe('');
    expect(await helpers(other)).toBe('');
    const digest = done.volumes.find((volume: { name: string }) => volume.name === data).digest;
    const { snapshots } = await at.ok('backup', '--volume', data);
    expect(snapshots[0].volumes[0].digest).toBe(digest);
  });

  it('what changes between the passes arrives: contents, names, kinds, links, owners, attributes; what is gone goes', async () => {
    const { at, other, differences } = await twoEngines();
    const volume = await at.volume(
      'data',
      `${SMALL_TREE}
       mkdir -p becomes-file/deep becomes-dir-later gone/deep attributes/with/files swap-a swap-b untouched
       for d in becomes-file/deep gone/deep attributes/with/files swap-a swap-b untouched; do echo $d >$d/file; done
       echo x >becomes-dir; ln -s nowhere becomes-file-too; echo same-size >content; echo "a quote ' and \\" \\$(touch no)" >"it's; touch no"
       echo l >link-1; ln link-1 link-2; ln link-1 untouched/link-3; echo s >single; ln single single-2
       setfattr -n user.gone -v 1 attributes; setfattr -n user.kept -v 1 attributes/with
       find . -exec touch -hd @1700000000 {} +; sleep 4`,
    );
    const app = await changingAtStop(
      at,
      volume,
      `rm -r becomes-file gone becomes-dir becomes-file-too "it's; touch no"; echo f >becomes-file; mkdir becomes-dir
       echo f >becomes-dir/file; echo f >becomes-file-too; echo SAME-size >content; touch -d @1700000000 content
       mv swap-a t; mv swap-b swap-a; mv t swap-b; echo more >>link-2; ln link-1 link-4; rm single; echo alone >single
       setfattr -x user.gone attributes; chown 5:6 "a b"; chmod 700 empty; setfacl -m u:9:rw random; echo end`,
    );
    const done = await at.ok('migrate', app, '--to-host', other, '--keep-source-stopped');
    expect(await stateOf(at, app)).toBe('exited');
    expect(await at.inside(volume, 'ls -d no 2>&1 || true')).toMatch(/No such file|cannot access/);
    expect(await differences(volume)).toBe('');
    expect(await bash('stat -c %h link-1 single single-2', { cwd: await mountpoint(other, volume) })).toBe(
      '4\n1\n1',
    );
    expect(await at.inside(volume, 'getfattr --only-values -n user.kept attributes/with; cat content')).toBe(
      '1SAME-size',
    );
    expect(done.volumes[0]).toMatchObject({ passes: 2, compared: 'all' });
    const { snapshots } = await at.ok('backup', '--volume', volume);
    expect(snapshots[0].volumes[0].digest).toBe(done.volumes[0].digest);
  });

  it('only what changed is sent while the containers stand still', async () => {
    const { at, other, differences } = await twoEngines();
    const volume = await at.volume(
      'data',
      'mkdir d; head -c 60000000 /dev/urandom >d/large; echo 1 >d/small; sleep 4',
    );
    const app = await changingAtStop(at, volume, 'echo 2 >d/small');
    const done = await at.ok(
      'migrate',
      app,
      '--to-host',
      other,
      '--keep-source-stopped',
      '--verify-before-start',
    );
    expect(done.volumes[0].liveBytes).toBeGreaterThan(60_000_000);
    expect(done.volumes[0].secondBytes).toBeLessThan(10_000);
    expect(done.volumes[0].secondBytes).toBeGreaterThan(0);
    expect(await differences(volume)).toBe('');
  });

  it('a volume by itself that nobody uses: one pass, no downtime; an existing empty target is filled', async () => {
    const { at, other, differences, there } = await twoEngines();
    const volume = await at.volume('data', `${SMALL_TREE}; sleep 4`);
    await there('volume', 'create', volume);
    const done = await at.ok('migrate', volume, '--to-host', other);
    expect(done.volumes).toMatchObject([
      { name: volume, passes: 1, downtimeMs: 0, secondBytes: 0, compared: 'all' },
    ]);
    expect(await differences(volume)).toBe('');
  });

  it('--dry-run tells the plan and does nothing; --from-host names the other end', async () => {
    const { at, other } = await twoEngines();
    const volume = await at.volume('data', 'echo 1 >file');
    const plan = await at.ok('migrate', volume, '--from-host', at.host, '--to-host', other, '--dry-run');
    expect(plan).toMatchObject({ dryRun: true, volumes: [{ from: volume, name: volume, driver: 'local' }] });
    expect(await dockerOk(other, 'volume', 'inspect', volume)).toBe(false);
  });
});

describe('migrate refuses, before anything is stopped or made', () => {
  it('a target volume that holds something: exit 24, and it stays as it is', async () => {
    const { at, other, there } = await twoEngines();
    const volume = await at.volume('data', 'echo new >file');
    const app = await changingAtStop(at, volume, 'echo stopped >file');
    await there(
      'run',
      '--rm',
      '--network',
      'none',
      '-v',
      `${volume}:/data`,
      'toolbox',
      'sh',
      '-c',
      'echo old >/data/old',
    );
    const result = await at.run('migrate', app, '--to-host', other);
    expect(result.exit).toBe(24);
    expect(failure(result)).toMatchObject({
      code: 'TARGET_NOT_EMPTY',
      hint: expect.stringContaining('--rename'),
    });
    expect(await bash('ls -A; cat old', { cwd: await mountpoint(other, volume) })).toBe('old\nold');
    expect(await stateOf(at, app)).toBe('running');
    expect(await at.inside(volume, 'cat file')).toBe('new');
  });

  it('an empty target volume that a running container uses', async () => {
    const { at, other, there } = await twoEngines();
    const volume = await at.volume('data', 'echo new >file');
    const user = at.name('user');
    await there(
      'run',
      '-d',
      '--network',
      'none',
      '--name',
      user,
      '-v',
      `${volume}:/data`,
      'toolbox',
      'sleep',
      '600',
    );
    const result = await at.run('migrate', volume, '--to-host', other);
    expect(result.exit).toBe(24);
    expect(failure(result).message).toContain(user);
    expect(await there('exec', user, 'ls', '-A', '/data')).toBe('');
  });

  it('names that do not exist, a missing --to-host, a volume into itself, a rename of nothing', async () => {
    const { at, other } = await twoEngines();
    const volume = await at.volume('data', 'echo 1 >file');
    expect((await at.run('migrate', at.name('none'), '--to-host', other)).exit).toBe(21);
    expect((await at.run('migrate', volume)).exit).toBe(2);
    expect(failure(await at.run('migrate', volume, '--to-host', at.host)).message).toContain('into itself');
    expect((await at.run('migrate', volume, '--to-host', other, '--rename', 'x=y')).exit).toBe(2);
    expect(await dockerOk(other, 'volume', 'inspect', volume)).toBe(false);
  });
});

describe('--with-container', () => {
  it('brings the image, makes the container as it was, and with --keep-source-stopped starts it', async () => {
    const { at, other, differences, there } = await twoEngines();
    const image = `${at.name('image')}:1`;
    const base = await at.container('base', 'toolbox', 'true');
    await at.docker('commit', '--change', 'ENV FROM_IMAGE=yes', base, image);
    const volume = await at.volume('data', SMALL_TREE);
    const app = at.name('app');
    const config = [
      '-e',
      'TOKEN=kept',
      '--label',
      'of=shop',
      '--restart',
      'on-failure:3',
      '--memory',
      '64m',
      '-w',
      '/data',
    ];
    const mounts = ['-v', `${volume}:/data`, '-v', '/anonymous', '--tmpfs', '/scratch'];
    await at.docker(
      'run',
      '-d',
      '--network',
      'none',
      '--stop-signal',
      'KILL',
      '--name',
      app,
      ...config,
      ...mounts,
      image,
      'sh',
      '-c',
      'ls >/anonymous/seen; sleep 600',
    );
    const result = await at.run(
      'migrate',
      app,
      '--to-host',
      other,
      '--with-container',
      '--keep-source-stopped',
    );
    expect(result.exit, result.stdout).toBe(0);
    expect(result.stdout).not.toContain('TOKEN=kept');
    expect(await stateOf(at, app)).toBe('exited');
    expect(result.json.at(-1)).toMatchObject({ container: { name: app, started: true } });
    const format =
      '{{.State.Running}} {{.Config.Image}} {{.HostConfig.Memory}} {{index .Config.Labels "of"}} {{.HostConfig.RestartPolicy.Name}} {{.Config.WorkingDir}}';
    expect(await there('inspect', '-f', format, app)).toBe(`true ${image} 67108864 shop on-failure /data`);
    expect(
      await there(
        'exec',
        app,
        'sh',
        '-c',
        'echo $TOKEN $FROM_IMAGE; cat random | wc -c; cat /anonymous/seen | wc -l; ls -d /scratch',
      ),
    ).toMatch(/^kept yes\n300000\n\d+\n\/scratch$/);
    expect(await differences(volume)).toBe('');
    await there('rm', '-f', app);
    await there('rmi', image);
    await at.docker('rm', '-f', app, base);
    await at.docker('rmi', image);
  });

  it('without --keep-source-stopped it is made, but only the source runs', async () => {
    const { at, other, there } = await twoEngines();
    const volume = await at.volume('data', 'echo 1 >file');
    const app = await changingAtStop(at, volume, 'true');
    const done = await at.ok('migrate', app, '--to-host', other, '--with-container');
    expect(done).toMatchObject({ container: { name: app, started: false }, volumes: [{ compared: 'all' }] });
    expect(await stateOf(at, app)).toBe('running');
    expect(await there('inspect', '-f', '{{.State.Status}}', app)).toBe('created');
  });

  it('refuses a missing network (named) and a name that is taken; nothing is stopped', async () => {
    const { at, other, there } = await twoEngines();
    const volume = await at.volume('data', 'echo 1 >file');
    const app = await changingAtStop(at, volume, 'echo stopped >file');
    await there('create', '--network', 'none', '--name', app, 'toolbox', 'true');
    const taken = await at.run('migrate', app, '--to-host', other, '--with-container');
    expect(taken.exit).toBe(24);
    expect(failure(taken).message).toContain(app);
    await there('rm', app);
    const network = at.name('net');
    await at.docker('network', 'create', '--internal', network);
    const inNet = at.name('in-net');
    await at.docker(
      'create',
      '--network',
      network,
      '--name',
      inNet,
      '-v',
      `${volume}:/data`,
      'toolbox',
      'true',
    );
    const missing = await at.run('migrate', inNet, '--to-host', other, '--with-container');
    expect(missing.exit).toBe(21);
    expect(failure(missing)).toMatchObject({
      message: expect.stringContaining(network),
      hint: expect.stringContaining('network create'),
    });
    expect(await at.inside(volume, 'cat file')).toBe('1');
    expect(await stateOf(at, app)).toBe('running');
  });

  it('a container that cannot start there: the source runs again, and nothing is left there', async () => {
    const { at, other, there } = await twoEngines();
    const volume = await at.volume('data', 'echo 1 >file');
    const dir = await bash('mktemp -d');
    const app = await running(at, 'app', '-v', `${volume}:/data`, '-v', `${dir}:/host`);
    await bash(`rmdir '${dir}'`);
    const result = await at.run(
      'migrate',
      app,
      '--to-host',
      other,
      '--with-container',
      '--keep-source-stopped',
    );
    expect(result.exit).toBe(22);
    expect(failure(result).message).toContain(dir);
    expect(warnings(result).join()).toContain(dir);
    expect(await stateOf(at, app)).toBe('running');
    expect(await dockerOk(other, 'inspect', app)).toBe(false);
    expect(await there('volume', 'ls', '-q', '--filter', `name=${volume}`)).toBe('');
    await bash(`rmdir '${dir}'`);
  });
});
