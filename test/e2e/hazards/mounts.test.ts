import { describe, expect, it } from 'vitest';
import { mountpoint } from '../../support/engine.ts';
import { bash, fingerprint, helpers, type Site, site } from '../../support/site.ts';
import { tempDir } from '../../support/temp.ts';
import { treeDifferences } from '../../support/trees.ts';
import type { Json } from '../../support/volbak.ts';

/** Paths of a volume in the last snapshot. */
async function paths(at: Site, volume: string): Promise<string[]> {
  return (await at.document('ls', 'latest', '--volume', volume)).map((m: Json) => m.path);
}

/** Backs up a container, restores one of its volumes beside it, and says what differs. */
async function roundTrip(
  at: Site,
  container: string,
  volumes: string[],
  ...options: string[]
): Promise<void> {
  const before = await Promise.all(volumes.map(async (v) => fingerprint(await mountpoint(at.host, v))));
  const { snapshots } = await at.ok(...options, 'backup', container);
  expect(snapshots[0].status).toBe('complete');
  expect(snapshots[0].volumes.map((v: Json) => v.name).sort()).toEqual([...volumes].sort());
  expect(await Promise.all(volumes.map(async (v) => fingerprint(await mountpoint(at.host, v))))).toEqual(
    before,
  );
  await at.ok(
    ...options,
    'restore',
    container,
    '--verify',
    ...volumes.flatMap((v) => ['--rename', `${v}=${v}-r`]),
  );
  for (const v of volumes) {
    expect(await treeDifferences(await mountpoint(at.host, v), await mountpoint(at.host, `${v}-r`))).toBe('');
  }
  expect(await helpers(at.host)).toBe('');
}

describe('volumes nested in one another', () => {
  it('/data and /data/sub: each is whole, also what the inner one hides, and nothing is there twice', async () => {
    const at = await site();
    const outer = await at.volume('outer', 'echo outer >file; mkdir sub; echo hidden >sub/hidden');
    const inner = await at.volume('inner', 'echo inner >file');
    await at.container('c', '-v', `${outer}:/data`, '-v', `${inner}:/data/sub`, 'busybox', 'true');
    await roundTrip(at, at.name('c'), [outer, inner]);
    expect(await paths(at, outer)).toEqual(['.', './file', './sub', './sub/hidden']);
    expect(await paths(at, inner)).toEqual(['.', './file']);
  });

  it('--only the outer one: what is in the inner one does not come along with it', async () => {
    const at = await site();
    const outer = await at.volume('outer', 'echo outer >file; mkdir sub; echo hidden >sub/hidden');
    const inner = await at.volume('inner', 'echo inner >inner-file');
    await at.container('c', '-v', `${outer}:/data`, '-v', `${inner}:/data/sub`, 'busybox', 'true');
    await at.ok('backup', at.name('c'), '--only', '/data/');
    expect(await paths(at, outer)).toEqual(['.', './file', './sub', './sub/hidden']);
  });

  it('a bind mount inside of a volume stays out of it', async () => {
    const at = await site();
    const dir = await tempDir();
    await bash('echo host >host-file', { cwd: dir });
    const volume = await at.volume('v', 'echo volume >file; mkdir host');
    await at.container('c', '-v', `${volume}:/data`, '-v', `${dir}:/data/host`, 'busybox', 'true');
    await at.ok('backup', at.name('c'));
    expect(await paths(at, volume)).toEqual(['.', './file', './host']);
  });

  it('the same volume mounted twice is backed up once', async () => {
    const at = await site();
    const volume = await at.volume('v', 'echo 1 >file');
    await at.container('c', '-v', `${volume}:/a`, '-v', `${volume}:/b/c`, 'busybox', 'true');
    const { snapshots } = await at.ok('backup', at.name('c'));
    expect(snapshots[0].volumes).toHaveLength(1);
    expect((await at.document('show', 'latest')).volumes[0].destinations).toEqual(['/a', '/b/c']);
    await at.container('new', '-v', '/b/c', 'busybox', 'true');
    await at.ok('restore', at.name('c'), '--into', at.name('new'));
    expect(
      await at.docker(
        'run',
        '--rm',
        '--network',
        'none',
        '--volumes-from',
        at.name('new'),
        'busybox',
        'cat',
        '/b/c/file',
      ),
    ).toBe('1');
  });
});

describe("a volume where it would hide the helper's tools", () => {
  const EVIL = `
    for tool in sh tar find sort tr sync head stat cat mv rm cp touch sleep env; do
      printf '#!/bin/sh\\necho EVIL\\necho EVIL >&2\\nexit 0\\n' >$tool; chmod 6755 $tool
    done
    mkdir -p bin x86_64-linux-gnu; cp tar bin/tar; echo evil >libc.so.6; cp libc.so.6 x86_64-linux-gnu/libc.so.6; cp libc.so.6 x86_64-linux-gnu/ld-linux-x86-64.so.2; echo /evil.so >ld.so.preload`;

  it("/usr, /bin, /sbin, /lib, /lib64, /etc, /tmp: the application's own tar is never run, and all of it comes back", async () => {
    const at = await site();
    const places = ['/usr', '/bin', '/sbin', '/lib', '/lib64', '/usr/bin', '/etc', '/tmp'];
    const volumes: string[] = [];
    for (const [i] of places.entries()) volumes.push(await at.volume(`v${i}`, EVIL));
    // One container for each place, and one with all of them.
    for (const [i, place] of places.entries()) {
      await at.container(`c${i}`, '-v', `${volumes[i]}:${place}`, 'busybox', 'true');
    }
    const { snapshots } = await at.ok('backup', ...places.map((_, i) => at.name(`c${i}`)));
    expect(new Set(snapshots.map((s: Json) => `${s.status} ${s.volumes[0].entries}`)).size).toBe(1);
    await at.container(
      'all',
      ...places.flatMap((place, i) => ['-v', `${volumes[i]}:${place}`]),
      'busybox',
      'true',
    );
    await roundTrip(at, at.name('all'), volumes);
  });

  it('--only another volume of that container: its tar is not run either', async () => {
    const at = await site();
    const evil = await at.volume('evil', EVIL);
    const data = await at.volume('data', 'echo content >file');
    await at.container('c', '-v', `${evil}:/usr`, '-v', `${data}:/data`, 'busybox', 'true');
    const { snapshots } = await at.ok('backup', at.name('c'), '--only', data);
    expect(snapshots[0].volumes).toMatchObject([{ name: data, entries: 2 }]);
    expect(await paths(at, data)).toEqual(['.', './file']);
  });

  it("/volbak: volbak's own place in a helper", async () => {
    const at = await site();
    const a = await at.volume('a', 'mkdir -p volumes/0 lane; echo 1 >volumes/0/file');
    const b = await at.volume('b', 'echo 2 >file');
    await at.container('c', '-v', `${a}:/volbak`, '-v', `${b}:/volbak/volumes/0`, 'busybox', 'true');
    await roundTrip(at, at.name('c'), [a, b]);
  });
});

describe('mount destinations that are hard to quote', () => {
  it.each(['pipe', 'attach'])('lane %s: spaces, unicode, options, quotes and globs', async (lane) => {
    const at = await site();
    const places = [
      '/with  space/ünï-🐳',
      '/-rf',
      '/--checkpoint-action=exec=sh',
      `/it's "$HOME" \`id\` *?[a] \\n;`,
    ];
    const volumes: string[] = [];
    for (const [i] of places.entries()) {
      volumes.push(
        await at.volume(`v${i}`, `echo ${i} >./-rf; echo >'--files-from=x'; mkdir -- '-C'; echo x >'-C/-T'`),
      );
    }
    await at.container(
      'c',
      ...places.flatMap((place, i) => ['-v', `${volumes[i]}:${place}`]),
      'busybox',
      'true',
    );
    await roundTrip(at, at.name('c'), volumes, '--lane', lane);
    const { volumes: restored } = await at.ok(
      'restore',
      at.name('c'),
      '--volume',
      places[0] as string,
      '--to-volume',
      at.name('one'),
    );
    expect(restored[0].from).toBe(volumes[0]);
  });
});
