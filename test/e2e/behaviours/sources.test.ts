import { describe, expect, it } from 'vitest';
import { docker, dockerOk, dockerTry, engines, mountpoint } from '../../support/engine.ts';
import {
  bash,
  failure,
  fingerprint,
  haltedWhileReading,
  helpers,
  type Site,
  site,
} from '../../support/site.ts';
import { afterwards, tempDir, uniqueName } from '../../support/temp.ts';
import { treeDifferences } from '../../support/trees.ts';
import type { Json } from '../../support/volbak.ts';

/** An image with `VOLUME` lines, and files in it, made from one of the test images. */
async function image(from: string, changes: string[], script = 'true'): Promise<string> {
  const { a } = engines();
  const name = uniqueName('t-image');
  afterwards(() => dockerTry(a, 'image', 'rm', '-f', name));
  afterwards(() => dockerTry(a, 'rm', '-f', name));
  await docker(a, 'run', '--network', 'none', '--name', name, from, 'sh', '-c', script);
  await docker(a, 'commit', ...changes.flatMap((change) => ['--change', change]), name, name);
  await docker(a, 'rm', name);
  return name;
}

/** Name of the volume that a container mounts at a path. */
function volumeAt(at: Site, container: string, destination: string): Promise<string> {
  const format = `{{range .Mounts}}{{if eq .Destination "${destination}"}}{{.Name}}{{end}}{{end}}`;
  return at.docker('inspect', '-f', format, container);
}

const names = (snapshot: Json) => snapshot.volumes.map((v: Json) => v.name);

describe('the source may be running, stopped, or have exited at once', () => {
  it.each([
    ['running', ['run', '-d'], ['sleep', '600']],
    ['exited at once (busybox true)', ['run'], ['true']],
    ['never started', ['create'], ['true']],
  ])('%s', async (_, verb, command) => {
    const at = await site();
    const volume = await at.volume('v', 'echo content >file');
    await at.docker(
      ...verb,
      '--network',
      'none',
      '--name',
      at.name('c'),
      '-v',
      `${volume}:/data`,
      'busybox',
      ...command,
    );
    const { snapshots } = await at.ok('backup', at.name('c'));
    expect(snapshots[0]).toMatchObject({
      status: 'complete',
      volumes: [{ name: volume, destination: '/data', entries: 2 }],
    });
    await at.ok('restore', at.name('c'), '--to-volume', at.name('copy'));
    expect(await at.inside(at.name('copy'), 'cat file')).toBe('content');
    expect(await helpers(at.host)).toBe('');
  });
});

describe('a middleman: a container that takes its volumes with --volumes-from', () => {
  it('has the same volumes, found through any of a chain, and another backup through it stores nothing new', async () => {
    const at = await site();
    const volume = await at.volume('v', 'head -c 200000 /dev/urandom >file');
    await at.container('data', '-v', `${volume}:/data`, '-v', '/anonymous', 'busybox', 'true');
    await at.container('client1', '--volumes-from', at.name('data'), 'busybox', 'true');
    await at.container('client2', '--volumes-from', `${at.name('client1')}:ro`, 'busybox', 'true');
    const first = (await at.ok('backup', at.name('data'))).snapshots[0];
    expect(first.volumes).toHaveLength(2);
    for (const middleman of ['client1', 'client2']) {
      const again = (await at.ok('backup', at.name(middleman))).snapshots[0];
      expect(names(again)).toEqual(names(first));
      expect(again.volumes.map((v: Json) => [v.digest, v.newBytes])).toEqual(
        first.volumes.map((v: Json) => [v.digest, 0]),
      );
    }
  });

  it('several --volumes-from: where mount points overlap the later one wins; several containers in one backup keep their own', async () => {
    const at = await site();
    const one = await at.volume('one', 'echo one >file');
    const two = await at.volume('two', 'echo two >file');
    await at.container('c1', '-v', `${one}:/data`, 'busybox', 'true');
    await at.container('c2', '-v', `${two}:/data`, 'busybox', 'true');
    await at.container(
      'both',
      '--volumes-from',
      at.name('c1'),
      '--volumes-from',
      at.name('c2'),
      'busybox',
      'true',
    );
    const winner = await volumeAt(at, at.name('both'), '/data');
    const { snapshots } = await at.ok('backup', at.name('c1'), at.name('c2'), at.name('both'));
    expect(snapshots.map(names)).toEqual([[one], [two], [winner]]);
    await at.ok('restore', snapshots[0].id, '--to-volume', at.name('r1'));
    await at.ok('restore', snapshots[1].id, '--to-volume', at.name('r2'));
    expect([await at.inside(at.name('r1'), 'cat file'), await at.inside(at.name('r2'), 'cat file')]).toEqual([
      'one',
      'two',
    ]);
  });
});

describe('anonymous volumes, VOLUME in an image, named volumes: all are volumes', () => {
  it('anonymous ones come back under a readable name, or into the volumes of a new container by mount path', async () => {
    const at = await site();
    const withVolume = await image('busybox', ['VOLUME /data']);
    const named = await at.volume('named', 'echo named >file');
    await at.docker(
      'run',
      '--network',
      'none',
      '--name',
      at.name('app'),
      '-v',
      `${named}:/named`,
      '-v',
      '/var/lib/own',
      withVolume,
      'sh',
      '-c',
      'echo image >/data/file; echo own >/var/lib/own/file',
    );
    const { snapshots } = await at.ok('backup', at.name('app'));
    expect(snapshots[0].volumes.map((v: Json) => v.destination)).toEqual(['/data', '/named', '/var/lib/own']);
    await at.docker('rm', '-v', at.name('app'));
    await at.docker('volume', 'rm', named);

    const { volumes } = await at.ok('restore', at.name('app'));
    expect(volumes.map((v: Json) => v.name)).toEqual([
      `${at.name('app')}_data`,
      named,
      `${at.name('app')}_var_lib_own`,
    ]);
    expect(await at.inside(`${at.name('app')}_var_lib_own`, 'cat file')).toBe('own');
    const labels = await at.docker('volume', 'inspect', '-f', '{{json .Labels}}', `${at.name('app')}_data`);
    expect(labels).not.toContain('anonymous');

    const other = await at.volume('other');
    await at.container('new', '-v', `${other}:/named`, '-v', '/var/lib/own', withVolume, 'true');
    await at.ok('restore', at.name('app'), '--into', at.name('new'));
    const found = ['/data', '/named', '/var/lib/own'].map(async (place) =>
      at.inside(await volumeAt(at, at.name('new'), place), 'cat file'),
    );
    expect(await Promise.all(found)).toEqual(['image', 'named', 'own']);
  });

  it('--into names the mount path for which the container has no volume, and writes none', async () => {
    const at = await site();
    const a = await at.volume('a', 'echo a >file');
    const b = await at.volume('b', 'echo b >file');
    await at.container('c', '-v', `${a}:/a`, '-v', `${b}:/b`, 'busybox', 'true');
    await at.ok('backup', at.name('c'));
    const empty = await at.volume('empty');
    await at.container('new', '-v', `${empty}:/a`, 'busybox', 'true');
    const result = await at.run('restore', at.name('c'), '--into', at.name('new'));
    expect(result.exit).toBe(21);
    expect(failure(result).message).toContain('/b');
    expect(await at.inside(empty, 'ls -A')).toBe('');
  });

  it('a volume by itself, without any container', async () => {
    const at = await site();
    const volume = await at.volume('v', 'echo content >file');
    const { snapshots } = await at.ok('backup', '--volume', volume);
    expect(snapshots[0].source).toMatch(new RegExp(`/volume/${volume}$`));
    await at.docker('volume', 'rm', volume);
    await at.ok('restore', volume);
    expect(await at.inside(volume, 'cat file')).toBe('content');
  });

  it('data-only containers, an old pattern, are a source like any other', async () => {
    const at = await site();
    await at.docker(
      'run',
      '--network',
      'none',
      '--name',
      at.name('data'),
      '-v',
      '/dbdata',
      'busybox',
      'sh',
      '-c',
      'echo row >/dbdata/table',
    );
    await at.ok('backup', at.name('data'));
    await at.container('data2', '-v', '/dbdata', 'busybox', 'true');
    await at.ok('restore', at.name('data'), '--into', at.name('data2'));
    expect(
      await at.docker(
        'run',
        '--rm',
        '--network',
        'none',
        '--volumes-from',
        at.name('data2'),
        'busybox',
        'cat',
        '/dbdata/table',
      ),
    ).toBe('row');
  });
});

describe('an empty volume', () => {
  it('is a valid backup, and restores empty with its own owner and mode', async () => {
    const at = await site();
    const volume = await at.volume('v', 'chown 70:71 .; chmod 2750 .; touch -d @1234567890.5 .');
    const { snapshots } = await at.ok('backup', '--volume', volume);
    expect(snapshots[0]).toMatchObject({ status: 'complete', volumes: [{ entries: 1 }] });
    await at.docker('volume', 'rm', volume);
    const { volumes } = await at.ok('restore', volume, '--verify');
    expect(volumes[0].digest).toBe(snapshots[0].volumes[0].digest);
    expect(await at.inside(volume, 'ls -A; stat -c "%u:%g %a %.2Y" .')).toBe('70:71 2750 1234567890.50');
  });

  it('mounted over a path with content in the image is not filled by the helper nor by a container that is made anew', async () => {
    const at = await site();
    const withContent = await image(
      'busybox',
      ['VOLUME /data'],
      'mkdir -p /data && echo image >/data/from-image',
    );
    // The helper's own image has content where the volume is mounted: the source is left as it is.
    const empty = await at.volume('empty');
    await at.docker(
      'create',
      '--network',
      'none',
      '--name',
      at.name('c'),
      '--mount',
      `type=volume,source=${empty},target=/data,volume-nocopy`,
      withContent,
      'true',
    );
    const helper = await image(
      'toolbox',
      [],
      'mkdir -p /data /volbak/volumes/0 && echo helper >/data/from-helper && echo helper >/volbak/volumes/0/from-helper',
    );
    const { snapshots } = await at.ok('--helper-image', helper, 'backup', at.name('c'), '--volume', empty);
    expect(snapshots.map((s: Json) => s.volumes[0].entries)).toEqual([1, 1]);
    expect(await at.inside(empty, 'ls -A')).toBe('');

    // A fresh volume that was restored is exactly the snapshot, also once a container of that image uses it.
    const full = await at.volume('full', 'echo snapshot >file');
    await at.docker(
      'create',
      '--network',
      'none',
      '--name',
      at.name('d'),
      '--mount',
      `type=volume,source=${full},target=/data,volume-nocopy`,
      withContent,
      'true',
    );
    await at.ok('--helper-image', helper, 'backup', at.name('d'));
    await at.docker('rm', at.name('d'));
    await at.docker('volume', 'rm', full);
    await at.ok('--helper-image', helper, 'restore', at.name('d'));
    const listed = await at.docker(
      'run',
      '--rm',
      '--network',
      'none',
      '-v',
      `${full}:/data`,
      withContent,
      'ls',
      '-A',
      '/data',
    );
    expect(listed).toBe('file');
  });

  it("a new container's volume that holds only its image's files is refused, and --on-conflict replace is the hint", async () => {
    const at = await site();
    const withContent = await image(
      'busybox',
      ['VOLUME /data'],
      'mkdir -p /data && echo image >/data/from-image',
    );
    const volume = await at.volume('v', 'echo snapshot >file');
    await at.docker(
      'create',
      '--network',
      'none',
      '--name',
      at.name('c'),
      '--mount',
      `type=volume,source=${volume},target=/data,volume-nocopy`,
      withContent,
      'true',
    );
    await at.ok('backup', at.name('c'));
    await at.container('new', withContent, 'true');
    const refused = await at.run('restore', at.name('c'), '--into', at.name('new'));
    expect(refused.exit).toBe(24);
    expect(failure(refused)).toMatchObject({
      message: expect.stringContaining('only what the image'),
      hint: expect.stringContaining('replace'),
    });
    // One file of the user's beside them, and it is a volume like any other that is not empty.
    const used = await volumeAt(at, at.name('new'), '/data');
    await at.inside(used, 'echo mine >mine');
    const held = failure(await at.run('restore', at.name('c'), '--into', at.name('new')));
    expect(held.message).toMatch(/it holds .*mine/);
    await at.ok('restore', at.name('c'), '--into', at.name('new'), '--on-conflict', 'replace');
    expect(await at.inside(await volumeAt(at, at.name('new'), '/data'), 'ls -A')).toBe('file');
  });
});

describe(':ro stops even root', () => {
  const BIG = 'head -c 200000000 /dev/zero >big; echo small >small';

  it.each(['pipe', 'attach'])(
    'lane %s: a helper can write nowhere, has no network and one capability, and is gone afterwards',
    async (lane) => {
      const at = await site();
      const volume = await at.volume('v', BIG);
      await at.container('c', '-v', `${volume}:/data`, 'busybox', 'true');
      const before = await fingerprint(await mountpoint(at.host, volume));
      const result = await haltedWhileReading(
        at,
        'big',
        ['--lane', lane, 'backup', at.name('c')],
        async (helper) => {
          const [{ HostConfig, Mounts, Config }] = JSON.parse(await at.docker('inspect', helper));
          expect(HostConfig).toMatchObject({
            AutoRemove: false,
            NetworkMode: 'none',
            ReadonlyRootfs: true,
            Privileged: false,
            CapDrop: ['ALL'],
          });
          expect(HostConfig.CapAdd.map((cap: string) => cap.replace(/^CAP_/, ''))).toEqual([
            'DAC_READ_SEARCH',
          ]);
          expect(HostConfig.SecurityOpt).toContain('no-new-privileges');
          expect(HostConfig.VolumesFrom ?? []).toEqual([expect.stringMatching(/:ro$/)]);
          expect(Mounts.filter((m: Json) => m.Type === 'volume').map((m: Json) => [m.Name, m.RW])).toEqual([
            [volume, false],
          ]);
          expect(Config.Labels).toMatchObject({
            'io.volbak.helper-run': 'read',
            'io.volbak.owner': expect.any(String),
          });
          for (const place of ['/data/new', '/data/small', '/usr/bin/cat', '/new']) {
            const write = await dockerTry(at.host, 'exec', helper, 'sh', '-c', `echo x >>${place}`);
            expect(`${write.exit !== 0} ${write.stderr}`).toMatch(
              /^true .*(Read-only file system|Permission denied)/s,
            );
          }
          expect((await dockerTry(at.host, 'exec', helper, 'rm', '-f', '/data/small')).exit).not.toBe(0);
        },
      );
      expect(result.exit).toBe(0);
      expect(await helpers(at.host)).toBe('');
      expect(await fingerprint(await mountpoint(at.host, volume))).toBe(before);
    },
  );

  it('an anonymous volume survives though its container is removed during the backup', async () => {
    const at = await site();
    await at.docker(
      'run',
      '--network',
      'none',
      '--name',
      at.name('c'),
      '-v',
      '/data',
      'toolbox',
      'sh',
      '-c',
      'head -c 200000000 /dev/zero >/data/big',
    );
    const volume = await volumeAt(at, at.name('c'), '/data');
    afterwards(() => dockerTry(at.host, 'volume', 'rm', '-f', volume));
    const result = await haltedWhileReading(at, 'big', ['backup', at.name('c')], async () => {
      await at.docker('rm', '-f', at.name('c'));
    });
    expect(result.exit).toBe(0);
    expect(await dockerOk(at.host, 'volume', 'inspect', volume)).toBe(true);
    expect(await at.inside(volume, 'stat -c %s big')).toBe('200000000');
  });
});

describe('--rm and docker rm -v also remove anonymous volumes: helpers are removed without', () => {
  it("a helper image with a VOLUME of its own leaves no volume behind, and the source's anonymous ones stay", async () => {
    const at = await site();
    const helper = await image(
      'toolbox',
      ['VOLUME /cache', 'VOLUME /data', 'VOLUME /volbak/volumes/0'],
      'mkdir /cache && echo x >/cache/x',
    );
    await at.docker(
      'run',
      '--network',
      'none',
      '--name',
      at.name('c'),
      '-v',
      '/data',
      'toolbox',
      'sh',
      '-c',
      'echo content >/data/file',
    );
    const volume = await volumeAt(at, at.name('c'), '/data');
    const all = async () => (await at.docker('volume', 'ls', '-q')).split('\n').sort();
    const before = await all();
    await at.ok('--helper-image', helper, 'backup', at.name('c'));
    await at.ok('--helper-image', helper, 'backup', '--volume', volume);
    expect(await all()).toEqual(before);
    await at.ok('--helper-image', helper, 'restore', `container/${at.name('c')}`, '--verify');
    expect(await all()).toEqual([...before, `${at.name('c')}_data`].sort());
    expect(await at.inside(volume, 'cat file')).toBe('content');
  });
});

describe('host directories (binds) are not volumes', () => {
  it('are left out and named; --include-binds takes them along, and they come back as ordinary volumes', async () => {
    const at = await site();
    const dir = await tempDir();
    await bash(`echo host >'${dir}/file'; mkdir '${dir}/sub'; chown 1000:1000 '${dir}'`);
    const volume = await at.volume('v', 'echo volume >file');
    await at.container(
      'c',
      '-v',
      `${volume}:/data`,
      '-v',
      `${dir}:/host dir`,
      '--tmpfs',
      '/scratch',
      'busybox',
      'true',
    );
    const without = await at.run('backup', at.name('c'));
    expect(without.exit).toBe(0);
    expect(without.json.filter((e) => e.event === 'left-out')).toEqual([
      expect.objectContaining({
        type: 'bind',
        destination: '/host dir',
        hint: expect.stringContaining('--include-binds'),
      }),
    ]);
    expect((await at.document('show', 'latest')).leftOut).toEqual([
      { type: 'bind', destination: '/host dir', source: dir },
    ]);
    const { snapshots } = await at.ok('backup', at.name('c'), '--include-binds');
    expect(snapshots[0].volumes.map((v: Json) => v.destination)).toEqual(['/data', '/host dir']);
    const { volumes } = await at.ok('restore', 'latest', '--volume', '/host dir');
    expect(volumes.map((v: Json) => v.name)).toEqual([`${at.name('c')}_host_dir`]);
    expect(await treeDifferences(dir, await mountpoint(at.host, volumes[0].name))).toBe('');
    expect(
      await at.docker('volume', 'inspect', '-f', '{{.Driver}} {{json .Options}}', volumes[0].name),
    ).toMatch(/^local (null|\{\})$/);
  });

  it('a container with nothing but binds is an error that names the way out', async () => {
    const at = await site();
    const dir = await tempDir();
    await at.container('c', '-v', `${dir}:/data`, 'busybox', 'true');
    const result = await at.run('backup', at.name('c'));
    expect(result.exit).toBe(21);
    expect(failure(result).hint).toContain('--include-binds');
  });
});

describe('a name that does not exist', () => {
  it.each([
    ['container', ['no-such-container']],
    ['volume', ['--volume', 'no-such-volume']],
  ])(
    'a missing %s is exit 21, and there is no repository and no volume of that name afterwards',
    async (_, args) => {
      const at = await site();
      const result = await at.run('backup', ...args);
      expect(result.exit).toBe(21);
      expect(failure(result)).toMatchObject({
        code: 'NOT_FOUND_IN_ENGINE',
        message: expect.stringContaining('no-such'),
      });
      expect(await bash(`ls -A '${at.repo}' 2>/dev/null || true`)).toBe('');
      expect(await dockerOk(at.host, 'volume', 'inspect', 'no-such-volume')).toBe(false);
    },
  );

  it('one of several containers missing: nothing is backed up', async () => {
    const at = await site();
    const volume = await at.volume('v', 'echo 1 >file');
    await at.container('c', '-v', `${volume}:/data`, 'busybox', 'true');
    expect((await at.run('backup', at.name('c'), 'no-such-container')).exit).toBe(21);
    expect(await bash(`ls -A '${at.repo}' 2>/dev/null || true`)).toBe('');
  });
});
