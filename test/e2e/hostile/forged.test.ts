import { existsSync, readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { dockerOk, mountpoint } from '../../support/engine.ts';
import { bash, failure, fingerprint, helpers, type Site, site } from '../../support/site.ts';
import { finished, type Json, type VolbakResult, volbak } from '../../support/volbak.ts';
import { readIndexLines, readManifest, writeIndexLines, writeManifest, writeTar } from './forge.ts';

// Somebody can write to the repository, and we restore from it: nothing outside the target may be touched.

const exists = (at: Site, volume: string) => dockerOk(at.host, 'volume', 'inspect', volume);

/** A container with two volumes, backed up, and what changes its manifest. */
async function scene(): Promise<{
  at: Site;
  a: string;
  b: string;
  c: string;
  forge(change: (m: Json) => unknown): Promise<void>;
}> {
  const at = await site();
  const a = await at.volume(
    'a',
    'head -c 30000 /dev/urandom >one; head -c 30000 /dev/urandom >two; echo small >small',
  );
  const b = await at.volume('b', 'echo b >file');
  const c = await at.container('c', '-v', `${a}:/a`, '-v', `${b}:/b`, 'busybox', 'true');
  await at.ok('backup', c);
  return {
    at,
    a,
    b,
    c,
    async forge(change) {
      const { file, manifest } = await readManifest(at.repo);
      await change(manifest);
      await writeManifest(file, manifest);
    },
  };
}

const archives = path.resolve(import.meta.dirname, '../../../fixtures/fuzz/tar');

describe('a forged manifest', () => {
  it.each(['../containers/victim', 'a/b', '..', 'with space', '%2e%2e/x', 'x?force=1', '\u001b[2J'])(
    'a volume named %j is refused, and nothing of the engine is touched',
    async (name) => {
      const { at, b, c, forge } = await scene();
      const before = await at.docker('ps', '-aq');
      const volumes = await at.docker('volume', 'ls', '-q');
      await forge((m) => {
        m.volumes[0].name = name.replace('victim', c);
      });
      const result = await at.run('restore', c, '--rename', `${b}=${at.name('rb')}`);
      expect([2, 21], result.stdout).toContain(result.exit);
      expect(result.stdout + result.stderr).not.toContain('\u001b');
      expect(await at.docker('ps', '-aq')).toBe(before);
      expect(await at.docker('volume', 'ls', '-q')).toBe(volumes);
    },
  );

  it('driver options that lead to a directory of the engine’s machine: said, and refused where that holds files', async () => {
    const { at, a, c, forge } = await scene();
    const mine = await at.volume('mine', 'echo mine >file');
    const device = await mountpoint(at.host, mine);
    await forge((m) => {
      m.volumes[0].driverOpts = { type: 'none', o: 'bind', device };
    });
    const before = await fingerprint(device);
    const result = await at.run('restore', c, '--volume', a, '--to-volume', at.name('r'));
    expect(result.exit).toBe(24);
    expect(result.stdout).toContain(`lead to ${device}`);
    expect(await fingerprint(device)).toBe(before);
    expect(await exists(at, at.name('r'))).toBe(false);
  });

  it('terminal controls in names, tags, hosts and messages never reach a terminal', async () => {
    const { at, a, c, forge } = await scene();
    const evil = '\u001b]0;owned\u0007\u001b[2J\u202e\u009b31m\rfaked line';
    await at.inside(a, `echo x >$'\\e[2Jname'`);
    await at.ok('backup', c);
    await forge((m) => {
      m.tags = { [evil]: evil };
      m.tool = evil;
      m.volumes[0].labels = { x: evil };
      m.volumes[0].driverOpts = { x: evil };
      m.warnings = [{ message: evil, path: evil }];
      m.leftOut = [{ type: evil, destination: evil }];
      m.engine.name = evil;
      m.status = 'partial';
      m.volumes[1].destinations = [evil];
    });
    const plain = ['-H', at.host, '--repo', at.repo];
    const commands = [
      ['show', c],
      ['snapshots'],
      ['ls', c],
      ['verify'],
      ['diff', c, c],
      ['restore', c, '--dry-run'],
      ['show', evil],
      ['restore', c, '--verbose'],
    ];
    for (const command of commands) {
      for (const json of [[], ['--json']]) {
        const { stdout, stderr } = await volbak([...plain, ...json, ...command]);
        expect(`${stdout}${stderr}`, command.join(' ')).not.toMatch(
          /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]/,
        );
      }
    }
    expect((await volbak([...plain, 'ls', c])).stdout).toContain('\\u001b[2Jname');
  });

  it('fields of wrong types or sizes: exit 40 for this snapshot, and the others are listed', async () => {
    const { at, c, forge } = await scene();
    const { file, manifest } = await readManifest(at.repo);
    await at.ok('backup', c);
    const changes: ((m: Json) => void)[] = [
      (m) => {
        m.volumes = 'none';
      },
      (m) => {
        m.volumes[0].tarBytes = -1;
      },
      (m) => {
        m.volumes[0].entries = 1e300;
      },
      (m) => {
        m.volumes[0].segments = ['../../volbak.json'];
      },
      (m) => {
        m.volumes[0].index[0][2] = 2 ** 40;
      },
      (m) => {
        m.source.name = '../other';
      },
      (m) => {
        m.id = '20200101T000000Z-000000';
      },
    ];
    for (const change of changes) {
      const copy = structuredClone(manifest);
      change(copy);
      await writeManifest(file, copy);
      expect((await at.run('show', manifest.id)).exit, change.toString()).toBe(40);
      expect((await at.document('snapshots')).length).toBe(1);
    }
    expect(forge).toBeTypeOf('function');
  });
});

describe('forged content', () => {
  it('frames swapped or repeated in the index: proven before it replaces anything, so the old content stays', async () => {
    const { at, a, c } = await scene();
    const { file, manifest } = await readManifest(at.repo);
    const volume = manifest.volumes.find((v: Json) => v.name === a);
    const lines = await readIndexLines(at.repo, volume);
    const frames = lines.flatMap((line, i) =>
      line.startsWith('{"frame"') && JSON.parse(line).frame[3] === 30000 ? [i] : [],
    );
    expect(frames).toHaveLength(2);
    const [first = 0, second = 0] = frames;
    const changes: Record<string, string[]> = {
      swapped: lines.with(first, lines[second] as string).with(second, lines[first] as string),
      repeated: lines.with(second, lines[first] as string),
      'one too many': lines.toSpliced(first, 0, lines[first] as string),
      'one missing': lines.toSpliced(first, 1),
    };
    const old = await at.volume('old', 'echo old >file');
    const before = await at.inside(old, "find . -mindepth 1 -printf '%p %i %T@ %s\\n'");
    for (const [what, forged] of Object.entries(changes)) {
      await writeIndexLines(at.repo, volume, forged);
      await writeManifest(file, manifest);
      const replaced = await at.run(
        'restore',
        c,
        '--volume',
        a,
        '--to-volume',
        old,
        '--on-conflict',
        'replace',
      );
      expect([22, 40], `${what}: ${replaced.stdout}`).toContain(replaced.exit);
      expect(await at.inside(old, "find . -mindepth 1 -printf '%p %i %T@ %s\\n'"), what).toBe(before);
      const fresh = await at.run('restore', c, '--volume', a, '--to-volume', at.name('fresh'), '--verify');
      expect([22, 40], what).toContain(fresh.exit);
      expect(await exists(at, at.name('fresh')), what).toBe(false);
    }
  });

  it.each(['dotdot.tar', 'symlink-then-below.tar', 'hardlink-outside.tar'])(
    'a snapshot whose tar is %s: refused, no volume is left, and another target beside it is not touched',
    async (name) => {
      const { at, a, b, c, forge } = await scene();
      const tar = await readFile(path.join(archives, name));
      await forge(async (m) =>
        writeTar(
          at.repo,
          m.volumes.find((v: Json) => v.name === a),
          tar,
        ),
      );
      const renames = ['--rename', `${a}=${at.name('ra')}`, '--rename', `${b}=${at.name('rb')}`];
      const result = await at.run('restore', c, ...renames);
      expect([22, 40], result.stdout).toContain(result.exit);
      expect(failure(result).message).not.toBe('');
      expect(await exists(at, at.name('ra'))).toBe(false);
      expect(await exists(at, at.name('rb'))).toBe(false);
      expect(await helpers(at.host)).toBe('');
    },
  );

  it('a snapshot with a member that leads out of the volume by an absolute name stays inside of it', async () => {
    const { at, a, c, forge } = await scene();
    const tar = await readFile(path.join(archives, 'absolute.tar'));
    await forge(async (m) =>
      writeTar(
        at.repo,
        m.volumes.find((v: Json) => v.name === a),
        tar,
      ),
    );
    await at.run('restore', c, '--volume', a, '--to-volume', at.name('r'));
    if (await exists(at, at.name('r')))
      expect(await at.inside(at.name('r'), 'find . -mindepth 1 | sort | tr "\\n" " "')).toBe(
        './etc ./etc/passwd ',
      );
  });
});

/** Runs volbak, and looks all the while how much memory it takes at the most, in MB. */
async function measured(at: Site, args: string[]): Promise<{ result: VolbakResult; peak: number }> {
  const child = await at.start(...args);
  child.stdin.end();
  let peak = 0;
  const timer = setInterval(() => {
    const status = existsSync(`/proc/${child.pid}/status`)
      ? readFileSync(`/proc/${child.pid}/status`, 'utf8')
      : '';
    peak = Math.max(peak, Number(/VmHWM:\s*(\d+) kB/.exec(status)?.[1] ?? 0) / 1000);
  }, 50);
  const result = await finished(child);
  clearInterval(timer);
  expect(peak).toBeGreaterThan(20);
  return { result, peak };
}

describe('hostile archives', () => {
  it('a bomb of a few kilobytes fills its target only: a clear error, bounded memory, the old content stays', async () => {
    const at = await site();
    const dir = await mountpoint(at.host, await at.volume('files'));
    await bash('truncate -s 1G zeros; tar -c zeros | gzip -1 >bomb.tar.gz; rm zeros', { cwd: dir });
    await at.docker(
      'volume',
      'create',
      '--opt',
      'type=tmpfs',
      '--opt',
      'device=tmpfs',
      '--opt',
      'o=size=20m',
      at.name('tiny'),
    );
    // Somebody must use it: what lives in memory is gone with its last user.
    await at.docker(
      'run',
      '-d',
      '--network',
      'none',
      '--name',
      at.name('holder'),
      '-v',
      `${at.name('tiny')}:/v`,
      'busybox',
      'sh',
      '-c',
      'echo old >/v/old; sleep 1000',
    );
    const inTiny = (script: string) => at.docker('exec', at.name('holder'), 'sh', '-c', `cd /v && ${script}`);
    for (const mode of ['replace', 'overlay']) {
      const { result, peak } = await measured(at, [
        'import',
        path.join(dir, 'bomb.tar.gz'),
        '--to-volume',
        at.name('tiny'),
        '--on-conflict',
        mode,
      ]);
      expect(result.exit).toBe(22);
      expect(failure(result).message).toMatch(/No space left|Wrote only/);
      expect(failure(result).hint).toContain('Make room');
      expect(peak, 'megabytes of memory').toBeLessThan(700);
      expect(await inTiny('ls -A; cat old')).toBe('old\nold');
    }
    await at.docker('rm', '-f', at.name('holder'));
  });

  it('an archive that holds a journal of volbak’s own is refused: nothing of it is ever acted on', async () => {
    const at = await site();
    const dir = await mountpoint(at.host, await at.volume('files'));
    await bash(
      'mkdir -p .volbak-0123456789abcdef/new; echo replace >.volbak-0123456789abcdef/swap; tar -cf x.tar .volbak-0123456789abcdef',
      { cwd: dir },
    );
    const result = await at.run('import', path.join(dir, 'x.tar'), '--to-volume', at.name('r'));
    expect(result.exit).toBe(40);
    expect(await exists(at, at.name('r'))).toBe(false);
  });
});
