import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { docker, engines, inVolume, mountpoint } from '../../support/engine.ts';
import { helpers, makeDatabase, makeScene, type Scene, volumes, withVolumesOf } from '../../support/scene.ts';
import { tempDir } from '../../support/temp.ts';
import { treeDifferences } from '../../support/trees.ts';
import { projectRoot, uniqueVolume, volbak, volbakOk } from './support.ts';

const sh = (script: string, cwd: string) =>
  promisify(execFile)('bash', ['-euo', 'pipefail', '-c', script], { cwd, maxBuffer: 64 * 1024 * 1024 }).then(
    ({ stdout }) => stdout,
  );
let scene: Scene;
let data: string;
let conf: string;
let archives: string;

beforeAll(async () => {
  scene = await makeScene(engines().a);
  const scripts = {
    data: `mkdir sub empty; echo hello >sub/file; head -c 300000 /dev/urandom >big; ln big hard; ln -s sub/file soft
     chmod 640 big; chown 1000:2000 sub; chmod 2750 sub; find . -exec touch -h -d @1500000000 {} +`,
    conf: 'echo a=b >app.conf; find . -exec touch -d @1500000000 {} +',
  };
  const made = await makeDatabase(scene, scripts);
  ({ data, conf } = made);
  archives = await tempDir();
  // As in Docker's documentation, with the tar of the image at hand.
  const one = (image: string, ...command: string[]) =>
    withVolumesOf(scene, made.container, archives, image, ...command);
  await one('toolbox', 'tar', 'cvf', '/backup/gnu.tar', '/dbdata', '/etc/conf');
  await one('busybox', 'tar', 'cvf', '/backup/busybox.tar', '/dbdata', '/etc/conf');
  await one('toolbox', 'tar', 'cvjf', '/backup/bzip2-2014-12-31.tar.gz', '/dbdata', '/etc/conf');
  await one('toolbox', 'tar', 'cvJf', '/backup/xz.tar', '/dbdata', '/etc/conf');
  await sh(
    `gzip -k gnu.tar; zstd -q gnu.tar -o one.zst; split -b 70000 gnu.tar part.
     for f in part.*; do gzip -c $f >>many.gz; zstd -qc $f >>many.zst; bzip2 -c $f >>many.bz2; xz -c $f >>many.xz; done; rm part.*`,
    archives,
  );
});

describe('an archive made by the documentation’s one-liners', () => {
  test.each([
    'gnu.tar',
    'busybox.tar',
    'bzip2-2014-12-31.tar.gz',
    'xz.tar',
    'gnu.tar.gz',
    'one.zst',
    'many.gz',
    'many.zst',
    'many.bz2',
    'many.xz',
  ])('%s goes into a container’s two volumes by mount path', async (name) => {
    const [v1, v2, into] = [uniqueVolume(scene), uniqueVolume(scene), uniqueVolume(scene)];
    await docker(
      scene.host,
      'create',
      '--name',
      into,
      '-v',
      `${v1}:/dbdata`,
      '-v',
      `${v2}:/etc/conf`,
      'busybox',
      'true',
    );
    await volbakOk([...scene.options, 'import', path.join(archives, name), '--into', into]);
    expect(await treeDifferences(await mountpoint(scene.host, data), await mountpoint(scene.host, v1))).toBe(
      '',
    );
    expect(await treeDifferences(await mountpoint(scene.host, conf), await mountpoint(scene.host, v2))).toBe(
      '',
    );
  });

  test('--strip-components 1 puts it into a container’s one volume, and --to-volume into any', async () => {
    await sh('mkdir x && tar xpf gnu.tar -C x && tar -C x --sort=name -cf only.tar dbdata', archives);
    const [v1, v2, into] = [uniqueVolume(scene), uniqueVolume(scene), uniqueVolume(scene)];
    await docker(scene.host, 'create', '--name', into, '-v', `${v1}:/elsewhere`, 'busybox', 'true');
    await volbakOk([
      ...scene.options,
      'import',
      path.join(archives, 'only.tar'),
      '--into',
      into,
      '--strip-components',
      '1',
    ]);
    await volbakOk([
      ...scene.options,
      'import',
      path.join(archives, 'only.tar'),
      '--to-volume',
      v2,
      '--strip-components',
      '1',
    ]);
    for (const volume of [v1, v2])
      expect(
        await treeDifferences(await mountpoint(scene.host, data), await mountpoint(scene.host, volume), {
          withoutRoot: true,
        }),
      ).toBe('');
  });

  test('comes from standard input with -', async () => {
    const volume = uniqueVolume(scene);
    const input = await readFile(path.join(archives, 'gnu.tar.gz'));
    await volbakOk([...scene.options, 'import', '-', '--to-volume', volume], { input });
    expect(await inVolume(scene.host, volume, 'cat dbdata/sub/file etc/conf/app.conf')).toBe('hello\na=b');
  });
});

test.each(['old', '0.0', '0.1', '1.0'])(
  'sparse members (%s) come back with content and holes',
  async (version) => {
    const volume = uniqueVolume(scene);
    await volbakOk([
      ...scene.options,
      'import',
      path.join(projectRoot, `fixtures/tars/gnu-tar-sparse-${version}.tar`),
      '--to-volume',
      volume,
    ]);
    expect(
      await inVolume(
        scene.host,
        volume,
        "stat -c '%n %s %u:%g %Y' * && tail -c 3 sparse && tr -d '\\0' <sparse && du -k hole | cut -f1",
      ),
    ).toBe(
      'hole 100000 1000:1000 1500000000\nmany 483329 1000:1000 1500000000\nsparse 300000 1000:1000 1500000000\nendmiddleend0',
    );
  },
);

test.each([
  'gnu-tar-gnu',
  'gnu-tar-oldgnu',
  'gnu-tar-pax',
  'gnu-tar-ustar',
  'gnu-tar-v7',
  'gnu-tar-global',
  'busybox',
  'python-gnu',
  'python-pax',
])('fixtures/tars/%s.tar: as GNU tar unpacks it', async (name) => {
  const volume = uniqueVolume(scene);
  const file = path.join(projectRoot, `fixtures/tars/${name}.tar`);
  await volbakOk([...scene.options, 'import', file, '--to-volume', volume]);
  const dir = await tempDir();
  await sh(`tar --numeric-owner -xpf ${file}`, dir);
  expect(await treeDifferences(dir, await mountpoint(scene.host, volume), { withoutRoot: true })).toBe('');
});

describe('what is no good archive', () => {
  let bad: string;
  let old: string;

  beforeAll(async () => {
    bad = await tempDir();
    old = scene.name('old');
    await docker(scene.host, 'volume', 'create', old);
    await inVolume(
      scene.host,
      old,
      'mkdir keep dbdata; echo old >keep/file; echo mine >dbdata/big; ln -s / evil; find . -exec touch -h -d @1400000000 {} +',
    );
    await writeFile(path.join(bad, 'empty'), '');
    await writeFile(path.join(bad, 'text'), 'This is a letter, not an archive.\n'.repeat(100));
    await sh('head -c 20000 /dev/urandom >random; head -c 10240 /dev/zero >zeros', bad);
    await sh(
      `python3 - <<'P'
import io, tarfile
def make(name, *members):
    with tarfile.open(name, 'w', format=tarfile.PAX_FORMAT) as t:
        for path, type, link, content in (('first', tarfile.REGTYPE, '', b'x' * 70000), *members):
            m = tarfile.TarInfo(path); m.type = type; m.linkname = link; m.size = len(content)
            t.addfile(m, io.BytesIO(content))
F, L, S, D = tarfile.REGTYPE, tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.DIRTYPE
make('up.tar', ('a/../../escaped', F, '', b'no'))
make('up-dir.tar', ('..', D, '', b''), ('../escaped', F, '', b'no'))
make('hard-up.tar', ('link', L, '../../etc/passwd', b''))
make('hard-outside.tar', ('link', L, 'no/such/member', b''))
make('unknown.tar', ('odd', b'Q', '', b'what'))
make('absolute.tar', ('/etc/absolute', F, '', b'in'))
make('symlink.tar', ('evil', S, '/', b''), ('evil/volbak-escaped', F, '', b'no'))
make('symlink-up.tar', ('d', D, '', b''), ('d/evil', S, '../../../..', b''), ('d/evil/volbak-escaped', F, '', b'no'))
P`,
      bad,
    );
    const gnu = await readFile(path.join(archives, 'gnu.tar'));
    for (const at of [1, 511, 512, 700, 1024, 1536, 5000, 150_000, gnu.length - 10_240])
      await writeFile(path.join(bad, `cut-${at}`), gnu.subarray(0, at));
    for (const name of [
      'gnu.tar.gz',
      'bzip2-2014-12-31.tar.gz',
      'xz.tar',
      'one.zst',
      'many.zst',
      'many.gz',
    ]) {
      const whole = await readFile(path.join(archives, name));
      await writeFile(path.join(bad, `cut-${name}`), whole.subarray(0, Math.floor(whole.length * 0.7)));
      await writeFile(path.join(bad, `cut-end-${name}`), whole.subarray(0, whole.length - 3));
      const flipped = Buffer.from(whole);
      flipped[Math.floor(whole.length / 2)] = (flipped[Math.floor(whole.length / 2)] ?? 0) ^ 1;
      await writeFile(path.join(bad, `flipped-${name}`), flipped);
    }
  });

  const stateOf = () =>
    inVolume(
      scene.host,
      old,
      "find . -printf '%p %y %m %U:%G %s %T@ %l\\n' | sort; cat keep/file dbdata/big",
    );

  /** Refused everywhere: no volume is made, and old content stays as it was to the last bit. */
  const expectRefused = async (name: string, modes: string[]) => {
    const file = path.join(bad, name);
    const target = uniqueVolume(scene);
    const fresh = await volbak([...scene.options, 'import', file, '--to-volume', target]);
    expect(fresh.exit, `${name}: ${fresh.stdout}`).not.toBe(0);
    expect(fresh.exit, `${name}: ${fresh.stderr}`).not.toBe(1);
    expect(fresh.stderr).toContain('error: ');
    expect(fresh.stderr).not.toContain('    at ');
    expect(await volumes(scene.host, target)).toEqual([]);
    const before = await stateOf();
    for (const mode of modes) {
      const { exit } = await volbak([
        ...scene.options,
        'import',
        file,
        '--to-volume',
        old,
        '--on-conflict',
        mode,
      ]);
      expect(exit, `${name} ${mode}`).toBe(mode === 'refuse' ? 24 : fresh.exit);
      expect(await stateOf(), `${name} ${mode}`).toBe(before);
    }
    expect(await helpers(scene.host)).toEqual([]);
  };

  test.each(['up.tar', 'up-dir.tar', 'hard-up.tar', 'hard-outside.tar', 'unknown.tar'])(
    '%s is refused',
    (name) => expectRefused(name, ['replace']),
  );

  test.each(['empty', 'text', 'random', 'zeros'])('%s is refused', (name) => expectRefused(name, []));

  test('an archive cut off anywhere is refused', async () => {
    for (const at of [1, 512, 700, 1536, 5000]) await expectRefused(`cut-${at}`, []);
    await expectRefused('cut-150000', ['refuse', 'overlay', 'replace']);
  });

  test.each(['gnu.tar.gz', 'bzip2-2014-12-31.tar.gz', 'xz.tar', 'one.zst', 'many.zst', 'many.gz'])(
    '%s cut off, or with one bit flipped, is refused',
    async (name) => {
      await expectRefused(`cut-${name}`, ['overlay']);
      await expectRefused(`cut-end-${name}`, []);
      await expectRefused(`flipped-${name}`, ['replace']);
    },
  );

  test('absolute names stay inside the volume', async () => {
    const volume = uniqueVolume(scene);
    await volbakOk([...scene.options, 'import', path.join(bad, 'absolute.tar'), '--to-volume', volume]);
    expect(await inVolume(scene.host, volume, 'cat etc/absolute')).toBe('in');
  });

  test.each(['symlink.tar', 'symlink-up.tar'])(
    '%s: nothing is written through a link that leads out',
    async (name) => {
      const volume = uniqueVolume(scene);
      const other = uniqueVolume(scene);
      await docker(scene.host, 'volume', 'create', other);
      const { exit } = await volbak([
        ...scene.options,
        'import',
        path.join(bad, name),
        '--to-volume',
        volume,
      ]);
      expect(exit).not.toBe(0);
      expect(await volumes(scene.host, volume)).toEqual([]);
      expect(await sh('ls -d /volbak-escaped 2>/dev/null || true', bad)).toBe('');
      const before = await stateOf();
      for (const mode of ['overlay', 'replace']) {
        expect(
          (
            await volbak([
              ...scene.options,
              'import',
              path.join(bad, name),
              '--to-volume',
              old,
              '--on-conflict',
              mode,
            ])
          ).exit,
        ).not.toBe(0);
        expect(await stateOf()).toBe(before);
      }
    },
  );
});

describe('a target that is not empty', () => {
  let target: string;

  beforeEach(async () => {
    target = uniqueVolume(scene);
    await docker(scene.host, 'volume', 'create', target);
    await inVolume(scene.host, target, 'mkdir dbdata; echo old >old; echo mine >dbdata/big');
  });

  test('is refused with exit 24, unless told what to do: overlay joins, replace replaces', async () => {
    const file = path.join(archives, 'gnu.tar');
    const refused = await volbak([...scene.options, '--json', 'import', file, '--to-volume', target]);
    expect(refused.json.at(-1)).toMatchObject({ event: 'error', code: 'TARGET_NOT_EMPTY', exit: 24 });
    expect(refused.exit).toBe(24);
    expect(await inVolume(scene.host, target, 'find . -type f | sort && cat old dbdata/big')).toBe(
      './dbdata/big\n./old\nold\nmine',
    );
    await volbakOk([...scene.options, 'import', file, '--to-volume', target, '--on-conflict', 'overlay']);
    expect(
      await inVolume(scene.host, target, 'cat old dbdata/sub/file && stat -c %s dbdata/big && ls -A'),
    ).toBe('old\nhello\n300000\ndbdata\netc\nold');
    await volbakOk([...scene.options, 'import', file, '--to-volume', target, '--on-conflict', 'replace']);
    expect(await inVolume(scene.host, target, 'ls -A')).toBe('dbdata\netc');
  });
});
