import { readFile, truncate, writeFile } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { dockerOk, mountpoint } from '../../support/engine.ts';
import { bash, failure, fingerprint, type Site, site } from '../../support/site.ts';
import { tempDir } from '../../support/temp.ts';
import { hardTree, treeDifferences } from '../../support/trees.ts';
import { type Json, volbak, volbakOk } from '../../support/volbak.ts';

/** A container `dbstore` as in Docker's documentation, its volume mounted at /dbdata. */
async function dbstore(at: Site): Promise<{ volume: string; container: string }> {
  const volume = await at.volume(
    'dbdata',
    'mkdir sub; echo a >a; echo b >sub/b; ln a sub/hard; ln -s a link; chown 70:71 a; chmod 640 a',
  );
  const container = await at.container('dbstore', '-v', `${volume}:/dbdata`, 'busybox', 'true');
  return { volume, container };
}

/** The documentation's backup: `docker run --rm --volumes-from dbstore -v dir:/backup image tar … /dbdata`. */
async function documented(
  at: Site,
  container: string,
  dir: string,
  command: string,
  image = 'busybox',
): Promise<void> {
  await at.docker(
    'run',
    '--rm',
    '--network',
    'none',
    '--volumes-from',
    container,
    '-v',
    `${dir}:/backup`,
    image,
    'sh',
    '-c',
    command,
  );
}

const text = (at: Site) => ['-H', at.host, '--repo', at.repo];
const names = async (file: string) => (await bash(`tar -tf ${file}`)).split('\n').sort();

describe('export', () => {
  it("--container writes what the documentation's one-liner writes, straight from the engine", async () => {
    const at = await site();
    const { container } = await dbstore(at);
    const dir = await tempDir();
    await documented(at, container, dir, 'tar cf /backup/theirs.tar /dbdata');
    await at.ok('export', '--container', container, '-o', `${dir}/ours.tar`);
    expect(await names(`${dir}/ours.tar`)).toEqual(await names(`${dir}/theirs.tar`));
    await bash('mkdir o t; tar -C o -xpf ours.tar; tar -C t -xpf theirs.tar', { cwd: dir });
    expect(await bash('diff -r --no-dereference o t && cat o/dbdata/sub/b', { cwd: dir })).toBe('b');
  });

  it('of a snapshot is the same archive; --volume has no prefix; a file name or --format chooses the compression', async () => {
    const at = await site();
    const { container, volume } = await dbstore(at);
    await at.ok('backup', container);
    const dir = await tempDir();
    for (const [file, magic] of [
      ['x.tar', '50617848'],
      ['x.tar.gz', '1f8b'],
      ['x.tar.zst', '28b52ffd'],
    ] as const) {
      await at.ok('export', container, '-o', `${dir}/${file}`);
      expect((await readFile(`${dir}/${file}`)).subarray(0, magic.length / 2).toString('hex')).toBe(magic);
      expect(await names(`${dir}/${file}`)).toContain('dbdata/sub/b');
    }
    await at.ok('export', container, '--volume', volume, '-o', `${dir}/bare.tar`);
    expect(await names(`${dir}/bare.tar`)).toContain('./sub/b');
    const { stdout } = await volbakOk([...text(at), '-q', 'export', container, '--format', 'tar']);
    expect(stdout).toContain('dbdata/sub/b');
  });

  it("is restored by the documentation's one-liner with --strip 1", async () => {
    const at = await site();
    const { container, volume } = await dbstore(at);
    const dir = await tempDir();
    await at.ok('export', '--container', container, '-o', `${dir}/backup.tar`);
    const second = await at.volume('dbdata2');
    const store2 = await at.container('dbstore2', '-v', `${second}:/dbdata`, 'busybox', 'true');
    await documented(at, store2, dir, 'cd /dbdata && tar xf /backup/backup.tar --strip 1', 'toolbox');
    // The one-liner leaves the root's own times to whoever made it.
    expect(
      await treeDifferences(await mountpoint(at.host, volume), await mountpoint(at.host, second), {
        withoutRoot: true,
      }),
    ).toBe('');
  });

  it('and import bring the hard tree back identical', async () => {
    const at = await site();
    const volume = await at.volume('hard');
    await hardTree(await mountpoint(at.host, volume));
    const dir = await tempDir();
    await at.ok('export', '--from-volume', volume, '-o', `${dir}/hard.tar.zst`);
    await at.run('import', `${dir}/hard.tar.zst`, '--to-volume', at.name('back'));
    expect(
      await treeDifferences(await mountpoint(at.host, volume), await mountpoint(at.host, at.name('back'))),
    ).toBe('');
  });
});

describe("import of what the documentation's one-liners wrote", () => {
  it.each([
    ['plain', 'cat'],
    ['gzip', 'gzip'],
    ['two gzip streams', 'head -c 3000 x.tar | gzip; tail -c +3001 x.tar | gzip; true'],
    ['bzip2', 'bzip2'],
    ['xz', 'xz'],
    ['zstd', 'zstd -q'],
    ['two zstd frames', 'head -c 3000 x.tar | zstd -q; tail -c +3001 x.tar | zstd -q; true'],
  ])('%s in a file called .tar.gz, --strip-components 1 into one volume', async (_, compress) => {
    const at = await site();
    const { container, volume } = await dbstore(at);
    const dir = await tempDir();
    await documented(at, container, dir, 'tar cvf /backup/x.tar /dbdata 2>/dev/null');
    await bash(compress.includes('x.tar') ? `{ ${compress}; } >x.tar.gz` : `${compress} <x.tar >x.tar.gz`, {
      cwd: dir,
    });
    await at.ok('import', `${dir}/x.tar.gz`, '--to-volume', at.name('new'), '--strip-components', '1');
    const [a, b] = [await mountpoint(at.host, volume), await mountpoint(at.host, at.name('new'))];
    expect(await bash(`diff -r --no-dereference ${a} ${b} && stat -c '%u %g %a %h' ${b}/a`)).toBe(
      '70 71 640 2',
    );
  });

  it('--into places members by mount path in a container with two volumes, from standard input too', async () => {
    const at = await site();
    const [one, two] = [await at.volume('one', 'echo 1 >f'), await at.volume('two', 'mkdir d; echo 2 >d/f')];
    const source = await at.container(
      'src',
      '-v',
      `${one}:/data/one`,
      '-v',
      `${two}:/two`,
      'busybox',
      'true',
    );
    const dir = await tempDir();
    await documented(at, source, dir, 'tar cf /backup/x.tar /data/one /two');
    const [x, y] = [await at.volume('x'), await at.volume('y')];
    const target = await at.container('dst', '-v', `${x}:/data/one`, '-v', `${y}:/two`, 'busybox', 'true');
    const { volumes } = (
      await volbakOk(['-H', at.host, '--json', 'import', '-', '--into', target], {
        input: await readFile(`${dir}/x.tar`),
      })
    ).json.at(-1) as Json;
    expect(volumes.map((v: Json) => v.name).sort()).toEqual([x, y].sort());
    expect(await at.inside(x, 'cat f')).toBe('1');
    expect(await at.inside(y, 'cat d/f')).toBe('2');
    const unclear = await at.run(
      'import',
      `${dir}/x.tar`,
      '--into',
      target,
      '--strip-components',
      '1',
      '--on-conflict',
      'overlay',
    );
    expect(unclear.exit).toBe(2);
  });
});

describe('an archive that is no good changes nothing', () => {
  async function prepared(): Promise<{ at: Site; target: string; dir: string }> {
    const at = await site();
    const target = await at.volume('target', 'echo old >old; mkdir d; echo x >d/x');
    const dir = await tempDir();
    await bash(
      'mkdir t; head -c 300000 /dev/urandom >t/random; seq 20000 >t/text; tar -cf whole.tar -C t .; gzip -k whole.tar; bzip2 -k whole.tar; xz -k whole.tar; zstd -q whole.tar',
      { cwd: dir },
    );
    return { at, target, dir };
  }

  async function expectNothingChanged(at: Site, target: string, file: string, mode: string): Promise<void> {
    const before = await fingerprint(await mountpoint(at.host, target));
    const result = await at.run('import', file, '--to-volume', target, '--on-conflict', mode);
    expect(result.exit, result.stderr).not.toBe(0);
    expect(failure(result).message).not.toBe('');
    expect(await fingerprint(await mountpoint(at.host, target)), file).toBe(before);
  }

  it('cut off, in every compression, over old content', async () => {
    const { at, target, dir } = await prepared();
    for (const ending of ['', '.gz', '.bz2', '.xz', '.zst']) {
      const file = `${dir}/whole.tar${ending}`;
      await truncate(file, Math.floor((await readFile(file)).length * 0.6));
      await expectNothingChanged(at, target, file, ending === '' ? 'replace' : 'overlay');
    }
  });

  it('damaged in the middle, where the compression can tell', async () => {
    const { at, target, dir } = await prepared();
    for (const ending of ['.gz', '.bz2', '.xz', '.zst']) {
      const file = `${dir}/whole.tar${ending}`;
      const bytes = await readFile(file);
      const middle = Math.floor(bytes.length / 2);
      bytes[middle] = (bytes[middle] as number) ^ 0x10;
      await writeFile(file, bytes);
      await expectNothingChanged(at, target, file, 'overlay');
    }
  });

  it('hostile: names that lead out of it, a link that leads out; and what is no archive at all', async () => {
    const { at, target, dir } = await prepared();
    await bash(
      `mkdir evil; echo x >evil/f; tar -C evil -cf up.tar --transform 's,^f,../../f,' f
       head -c 5000 /dev/urandom >noise; : >empty; echo hello >text`,
      { cwd: dir },
    );
    for (const file of ['up.tar', 'noise', 'empty', 'text'])
      await expectNothingChanged(at, target, `${dir}/${file}`, 'replace');
  });

  it('and a volume made for it is gone again; a target that is not empty is refused with 24', async () => {
    const { at, target, dir } = await prepared();
    expect((await at.run('import', `${dir}/whole.tar`, '--to-volume', target)).exit).toBe(24);
    await truncate(`${dir}/whole.tar`, 200_000);
    const result = await at.run('import', `${dir}/whole.tar`, '--to-volume', at.name('fresh'));
    expect(result.exit).toBe(40);
    expect(await dockerOk(at.host, 'volume', 'inspect', at.name('fresh'))).toBe(false);
  });

  it('a symbolic link to the root does not lead a file out of the volume', async () => {
    const { at, dir } = await prepared();
    await bash(
      'mkdir e; ln -s / e/way; tar -cf link.tar -C e way; rm e/way; mkdir e/way; echo out >e/way/volbak-was-here; tar -rf link.tar -C e way/volbak-was-here',
      { cwd: dir },
    );
    await volbak(['-H', at.host, 'import', `${dir}/link.tar`, '--to-volume', at.name('sym')]);
    expect(await bash('ls /volbak-was-here 2>&1 || true')).toContain('No such file');
  });
});
