import { setTimeout } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { dockerOk, mountpoint } from '../../support/engine.ts';
import {
  bash,
  failure,
  helperAtWork,
  helpers,
  type Site,
  site,
  summary,
  warnings,
} from '../../support/site.ts';
import { afterwards, tempDir } from '../../support/temp.ts';
import { treeDifferences } from '../../support/trees.ts';
import { finished, type VolbakResult, volbak } from '../../support/volbak.ts';
import { readManifest, writeManifest } from '../hostile/forge.ts';

const NEW =
  'mkdir -p app/data; echo conf >app/conf; echo top >top; chmod 751 .; setfattr -n user.root -v kept .; touch -d @1500000000.5 app .';
const OLD =
  'mkdir -p app/old; echo old >top; echo old >only-old; chmod 700 .; setfattr -n user.stale -v x .; find . -exec touch -h -d @1400000000 {} +';

async function scene(): Promise<{
  at: Site;
  v: string;
  r: string;
  replace: (...args: string[]) => Promise<VolbakResult>;
}> {
  const at = await site();
  const v = await at.volume('v', NEW);
  const r = await at.volume('r', OLD);
  await at.ok('backup', '--volume', v);
  return {
    at,
    v,
    r,
    replace: (...args) => at.run('restore', v, '--to-volume', r, '--on-conflict', 'replace', ...args),
  };
}

const listed = (at: Site, volume: string) =>
  at.inside(volume, `find . -printf '%p %y %m %s %T@\\n' | sort; getfattr -d .`);

describe('restore --on-conflict replace', () => {
  it('gives what was in the snapshot to the last attribute of the root, and proves it first, also without --verify', async () => {
    const { at, v, r, replace } = await scene();
    const result = await replace();
    expect(result.exit).toBe(0);
    expect(summary(result).volumes[0].digest).toBe((await at.document('show', v)).volumes[0].digest);
    expect(await treeDifferences(await mountpoint(at.host, v), await mountpoint(at.host, r))).toBe('');
    expect(await at.inside(r, 'getfattr -d . | grep user')).toBe('user.root="kept"');
  });

  it('content that is not what the snapshot says never replaces anything: exit 40', async () => {
    const { at, r, replace } = await scene();
    const before = await listed(at, r);
    const { file, manifest } = await readManifest(at.repo);
    manifest.volumes[0].digest = 'f'.repeat(64);
    await writeManifest(file, manifest);
    expect((await replace()).exit).toBe(40);
    expect(await listed(at, r)).toBe(before);
  });

  it('--keep-old: the old content stays in a directory that is named; names that do not fit are refused', async () => {
    const { at, v, r, replace } = await scene();
    const result = await replace('--keep-old', 'before');
    expect(result.exit).toBe(0);
    expect(summary(result).volumes[0].keptOld).toBe('before');
    expect(await at.inside(r, 'ls -A; cat before/top top before/only-old; stat -c "%a %Y" before')).toBe(
      'app\nbefore\ntop\nold\ntop\nold\n700 1400000000',
    );
    const again = await volbak([
      '-H',
      at.host,
      '--repo',
      at.repo,
      'restore',
      v,
      '--to-volume',
      r,
      '--on-conflict',
      'replace',
      '--keep-old',
    ]);
    expect(again.exit).toBe(0);
    const [, name = ''] = /directory (volbak-old-\d{8}T\d{6}Z)/.exec(again.stdout) ?? [];
    expect(await at.inside(r, `cat ${name}/before/top`)).toBe('old');
    const before = await listed(at, r);
    for (const bad of ['a/b', '..', '.', 'top', 'lost+found', '']) {
      expect((await replace('--keep-old', bad)).exit, bad).toBe(2);
      expect(await listed(at, r), bad).toBe(before);
    }
    expect((await at.run('restore', v, '--to-volume', at.name('x'), '--keep-old', 'y')).exit).toBe(2);
  });

  it('where old and new do not fit together: refused before a byte is written', async () => {
    const { at } = await scene();
    const big = await at.volume('big', 'head -c 9000000 /dev/urandom >file');
    await at.ok('backup', '--volume', big);
    const tiny = at.name('tiny');
    await at.docker(
      'volume',
      'create',
      '--opt',
      'type=tmpfs',
      '--opt',
      'device=tmpfs',
      '--opt',
      'o=size=12m',
      tiny,
    );
    const fill = 'head -c 6000000 /dev/zero >/v/old; sleep 1000';
    await at.docker(
      'run',
      '-d',
      '--network',
      'none',
      '--name',
      at.name('holder'),
      '-v',
      `${tiny}:/v`,
      'busybox',
      'sh',
      '-c',
      fill,
    );
    await setTimeout(1000);
    const result = await at.run('restore', big, '--to-volume', tiny, '--on-conflict', 'replace');
    expect(result.exit).toBe(22);
    expect(failure(result).message).toContain('beside what it holds');
    expect(await at.docker('exec', at.name('holder'), 'ls', '-A', '/v')).toBe('old');
    await at.docker('rm', '-f', at.name('holder'));
  });

  it('something mounted inside the volume: refused (24); with --stop a container’s own nested volume is no matter', async () => {
    const { at, v, r, replace } = await scene();
    const inner = await at.volume('inner', 'echo inner >file');
    const mounts = ['-v', `${r}:/data`, '-v', `${inner}:/data/app/inner`];
    await at.docker(
      'run',
      '-d',
      '--init',
      '--network',
      'none',
      '--name',
      at.name('app'),
      ...mounts,
      'busybox',
      'sleep',
      '1000',
    );
    const before = await listed(at, r);
    const refused = await replace();
    expect(refused.exit).toBe(24);
    expect(failure(refused)).toMatchObject({
      message: expect.stringContaining('/data/app/inner'),
      hint: expect.stringContaining('--stop'),
    });
    expect(await listed(at, r)).toBe(before);
    await at.ok('restore', v, '--to-volume', r, '--on-conflict', 'replace', '--stop');
    expect(await at.docker('exec', at.name('app'), 'cat', '/data/app/inner/file', '/data/top')).toBe(
      'inner\ntop',
    );
    await at.docker('rm', '-f', at.name('app'));
  });

  it('a file system that the engine’s machine has mounted inside the volume: refused (24)', async () => {
    const { at, r, replace } = await scene();
    const pid = await bash(`cat '${at.host.replace('unix://', '').replace(/docker\.sock$/, 'pid')}'`);
    const place = `${await mountpoint(at.host, r)}/app/a b`;
    await bash(`mkdir -p '${place}'; nsenter -t ${pid} -m mount -t tmpfs tmpfs '${place}'`);
    afterwards(() => bash(`nsenter -t ${pid} -m umount '${place}'`));
    const result = await replace();
    expect(result.exit).toBe(24);
    expect(failure(result).message).toContain('./app/a');
    expect(await at.inside(r, 'cat only-old')).toBe('old');
  });
});

describe('several volumes, of which one is refused', () => {
  it('leaves none that the run made, and the old content of the others', async () => {
    const { at, v, r } = await scene();
    const second = await at.volume('second', 'echo second >file');
    const c = await at.container('c', '-v', `${v}:/a`, '-v', `${second}:/b`, 'busybox', 'true');
    await at.ok('backup', c);
    await at.inside(r, 'rm top; mkdir top; echo mine >top/mine');
    const before = await listed(at, r);
    const renames = ['--rename', `${v}=${r}`, '--rename', `${second}=${at.name('new')}`];
    for (const [exit, ...args] of [
      ['24', 'overlay'],
      ['2', 'replace', '--keep-old', 'app'],
    ]) {
      expect((await at.run('restore', c, ...renames, '--on-conflict', ...args)).exit).toBe(Number(exit));
      expect(await listed(at, r)).toBe(before);
      expect(await dockerOk(at.host, 'volume', 'inspect', at.name('new'))).toBe(false);
    }
    await at.ok('restore', c, ...renames, '--on-conflict', 'replace');
    expect(await at.inside(at.name('new'), 'cat file')).toBe('second');
    expect(await treeDifferences(await mountpoint(at.host, v), await mountpoint(at.host, r))).toBe('');
  });
});

/** Kills a replacement while its content is gathered; answers when it is gone. */
async function killedWhileGathering(at: Site, v: string, r: string): Promise<void> {
  await at.inside(v, 'head -c 150000000 /dev/urandom >big');
  await at.ok('backup', '--volume', v);
  const child = await at.start('restore', v, '--to-volume', r, '--on-conflict', 'replace');
  child.stdin.end();
  const end = finished(child);
  await helperAtWork(at.host, 'extract');
  child.kill('SIGKILL');
  await end;
  expect(await at.inside(r, 'ls -d .volbak-*')).toMatch(/^\.volbak-[0-9a-f]{16}$/);
}

describe('a replacement that was killed', () => {
  it('the next command on this machine takes it back; until then the old content is in its place', async () => {
    const { at, v, r } = await scene();
    const before = await listed(at, r);
    await killedWhileGathering(at, v, r);
    expect(await at.inside(r, 'cat top only-old')).toBe('old\nold');
    const next = await at.run('backup', '--volume', v, '--dry-run');
    expect(warnings(next).join()).toContain(`took back what was gathered in ${r}`);
    expect(await listed(at, r)).toBe(before);
    expect(await helpers(at.host)).toBe('');
  });

  it('on another machine a backup leaves it out and says so, and a restore settles it first', async () => {
    const { at, v, r, replace } = await scene();
    await killedWhileGathering(at, v, r);
    // Another machine knows nothing of the notes, and cannot tell whether the process there lives.
    const stage = await at.inside(r, 'ls -d .volbak-*');
    await at.inside(r, `echo elsewhere:1:1 >${stage}/owner`);
    for (const id of (await helpers(at.host)).split('\n')) if (id) await at.docker('rm', '-f', id);
    const elsewhere = { env: { XDG_STATE_HOME: await tempDir() } };
    const globals = [...at.globals];
    const saved = await volbak([...globals, 'backup', '--volume', r], elsewhere);
    expect(saved.exit).toBe(3);
    expect(warnings(saved).join()).toContain(stage);
    const { stdout } = await volbak([...globals, 'ls', r], elsewhere);
    expect(stdout).not.toContain('.volbak-');
    const args = ['restore', v, '--to-volume', r];
    const refused = await volbak([...globals, ...args], elsewhere);
    expect(refused.exit).toBe(24);
    expect(warnings(refused).join()).toContain('took back');
    expect(await at.inside(r, 'ls -A')).toBe('app\nonly-old\ntop');
    expect((await replace()).exit).toBe(0);
    expect(await treeDifferences(await mountpoint(at.host, v), await mountpoint(at.host, r))).toBe('');
  });

  it('while another volbak is at work in a volume, a second one is refused', async () => {
    const { at, v, r, replace } = await scene();
    await at.inside(v, 'head -c 150000000 /dev/urandom >big');
    await at.ok('backup', '--volume', v);
    const child = await at.start('restore', v, '--to-volume', r, '--on-conflict', 'replace');
    child.stdin.end();
    const end = finished(child);
    await helperAtWork(at.host, 'extract');
    child.kill('SIGSTOP');
    const second = await replace();
    child.kill('SIGCONT');
    expect(second.exit).toBe(24);
    expect(failure(second).message).toContain('another volbak');
    expect((await end).exit).toBe(0);
    expect(await treeDifferences(await mountpoint(at.host, v), await mountpoint(at.host, r))).toBe('');
  });
});
