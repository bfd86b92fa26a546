import { describe, expect, it } from 'vitest';
import { cleanupEngine, dockerOk, engines, mountpoint } from '../../support/engine.ts';
import { bash, failure, fingerprint, type Site, site } from '../../support/site.ts';
import { afterwards } from '../../support/temp.ts';
import { treeDifferences } from '../../support/trees.ts';
import { type Json, volbak, volbakOk } from '../../support/volbak.ts';

/** A container with two volumes, backed up. */
async function two(): Promise<{ at: Site; a: string; b: string; c: string; id: string }> {
  const at = await site();
  const a = await at.volume('a', 'echo a >file; ln file link; chown 70:70 . file', '--label', 'x=y');
  const b = await at.volume('b', 'echo b >file');
  const c = await at.container('c', '-v', `${a}:/a`, '-v', `${b}:/b`, 'busybox', 'true');
  const { snapshots } = await at.ok('backup', c);
  return { at, a, b, c, id: snapshots[0].id };
}

const exists = (at: Site, volume: string) => dockerOk(at.host, 'volume', 'inspect', volume);

describe('where a restore goes', () => {
  it('--volume and --to-volume: one volume, by name or mount path, into this one', async () => {
    const { at, a, c } = await two();
    await at.ok('restore', c, '--volume', '/a', '--to-volume', at.name('r'), '--verify');
    expect(await treeDifferences(await mountpoint(at.host, a), await mountpoint(at.host, at.name('r')))).toBe(
      '',
    );
    expect(await at.docker('volume', 'inspect', '-f', '{{.Labels.x}}', at.name('r'))).toBe('y');
    const ambiguous = await at.run('restore', c, '--to-volume', at.name('r2'));
    expect(ambiguous.exit).toBe(2);
    expect(failure(ambiguous).hint).toContain(a);
    const unknown = await at.run('restore', c, '--volume', 'nothing');
    expect(unknown.exit).toBe(10);
    expect(await exists(at, at.name('r2'))).toBe(false);
  });

  it('--rename: some under another name, the others under their own; not two into one', async () => {
    const { at, a, b, c } = await two();
    await at.docker('rm', c);
    await at.docker('volume', 'rm', b);
    const { volumes } = await at.ok('restore', c, '--rename', `${a}=${at.name('r')}`);
    expect(volumes.map((v: Json) => [v.from, v.name])).toEqual([
      [a, at.name('r')],
      [b, b],
    ]);
    expect(await at.inside(b, 'cat file')).toBe('b');
    expect(
      (await at.run('restore', c, '--rename', `${a}=${at.name('s')}`, '--rename', `${b}=${at.name('s')}`))
        .exit,
    ).toBe(2);
    expect((await at.run('restore', c, '--rename', `nothing=${at.name('s')}`)).exit).toBe(2);
    expect(await exists(at, at.name('s'))).toBe(false);
  });

  it('refused (24) with everything untouched, when one of two targets is not empty', async () => {
    const { at, a, b, c } = await two();
    await at.docker('rm', c);
    await at.docker('volume', 'rm', a);
    const before = await fingerprint(await mountpoint(at.host, b));
    const result = await at.run('restore', c);
    expect(result.exit).toBe(24);
    expect(failure(result).message).toContain(b);
    expect(await exists(at, a)).toBe(false);
    expect(await fingerprint(await mountpoint(at.host, b))).toBe(before);
    // The same with an empty one that exists already: it stays, and empty.
    const empty = await at.volume('empty');
    expect((await at.run('restore', c, '--rename', `${a}=${empty}`)).exit).toBe(24);
    expect(await at.inside(empty, 'ls -A')).toBe('');
  });

  it('--dry-run says what would go where, and makes nothing', async () => {
    const { at, a, b, c } = await two();
    const dry = await at.ok('restore', c, '--dry-run', '--rename', `${a}=${at.name('r')}`);
    expect(dry).toMatchObject({
      dryRun: true,
      volumes: [
        { from: a, name: at.name('r'), driver: 'local' },
        { from: b, name: b },
      ],
    });
    expect(await exists(at, at.name('r'))).toBe(false);
  });

  it('on another engine, with the same repository', async () => {
    const { at, a, c } = await two();
    const { b: other } = engines();
    afterwards(() => cleanupEngine(other, at.name()));
    const globals = ['-H', other, '--repo', at.repo, '--json'];
    await volbakOk([...globals, 'restore', c, '--verify']);
    expect(await treeDifferences(await mountpoint(at.host, a), await mountpoint(other, a))).toBe('');
    expect((await volbak([...globals, 'restore', c])).exit).toBe(24);
  });
});

describe('after a restore', () => {
  it('the volumes stay, whatever command comes next on this host', async () => {
    const { at, a, c } = await two();
    await at.ok('restore', c, '--volume', a, '--to-volume', at.name('r'));
    await at.ok('backup', '--volume', at.name('r'));
    await at.document('doctor');
    expect(await at.inside(at.name('r'), 'cat file')).toBe('a');
  });
});

describe('what a reference means', () => {
  it('an id, a prefix of it, latest, a source short or in full, a source with an id, a date or latest', async () => {
    const at = await site();
    const v = await at.volume('v', 'echo 1 >file');
    const other = await at.volume('other', 'echo other >file');
    const first = (await at.ok('backup', '--volume', v)).snapshots[0];
    await at.inside(v, 'echo 2 >file');
    const second = (await at.ok('backup', '--volume', v)).snapshots[0];
    await at.ok('backup', '--volume', other);
    const day = new Date().toISOString().slice(0, 10);
    const references: [string, string][] = [
      [first.id, '1'],
      [second.id.slice(0, -1), '2'],
      ['latest', 'other'],
      [v, '2'],
      [`volume/${v}`, '2'],
      [second.source, '2'],
      [`${v}@latest`, '2'],
      [`${v}@${first.id}`, '1'],
      [`${first.source}@${day}`, '2'],
    ];
    for (const [reference, id] of references) {
      const listed = (await at.document('show', reference)).id;
      expect([reference, listed === first.id ? '1' : listed === second.id ? '2' : 'other']).toEqual([
        reference,
        id,
      ]);
    }
    await at.ok('restore', `${v}@${first.id}`, '--to-volume', at.name('r'));
    expect(await at.inside(at.name('r'), 'cat file')).toBe('1');
    for (const none of ['nothing', `${v}@2001-01-01`, `${v}@20010101`]) {
      expect((await at.run('restore', none, '--to-volume', at.name('r2'))).exit).toBe(10);
    }
    expect(await exists(at, at.name('r2'))).toBe(false);
  });
});

describe('a damaged repository', () => {
  /** Flips one bit in the middle of the largest object below `segments/`. */
  const DAMAGE = `f=$(find segments -type f -printf '%s %p\\n' | sort -n | tail -1 | cut -d' ' -f2); chmod u+w "$f"
    perl -e 'open(my $f, "+<", $ARGV[0]) or die; seek($f, int((-s $f) * 0.6), 0); read($f, my $b, 1); seek($f, -1, 1); print $f chr(ord($b) ^ 1); close $f' "$f"`;

  it('a flipped bit: exit 40, no new volume is left, and verify finds it', async () => {
    const at = await site();
    const v = await at.volume('v', 'head -c 5000000 /dev/urandom >file; echo 1 >small');
    await at.ok('backup', '--volume', v);
    await bash(DAMAGE, { cwd: at.repo });
    const result = await at.run('restore', v, '--to-volume', at.name('r'));
    expect(result.exit).toBe(40);
    expect(failure(result).code).toBe('INTEGRITY');
    expect(await exists(at, at.name('r'))).toBe(false);
    expect((await at.run('verify')).exit).toBe(40);
    // An empty volume that was there before stays, and is empty again.
    const empty = await at.volume('empty');
    expect((await at.run('restore', v, '--to-volume', empty)).exit).toBe(40);
    expect(await at.inside(empty, 'ls -A')).toBe('');
  });

  it.each(['replace', 'overlay'])(
    '--on-conflict %s of two volumes: damage in the second leaves the old content of both',
    async (what) => {
      const at = await site();
      const a = await at.volume('a', 'echo a >file');
      const b = await at.volume('b', 'head -c 5000000 /dev/urandom >file');
      const c = await at.container('c', '-v', `${a}:/a`, '-v', `${b}:/b`, 'busybox', 'true');
      await at.ok('backup', c);
      await bash(DAMAGE, { cwd: at.repo });
      await at.inside(a, 'echo old >file');
      await at.inside(b, 'rm file; echo old >file');
      expect((await at.run('restore', c, '--on-conflict', what)).exit).toBe(40);
      expect([await at.inside(a, 'ls -A; cat file'), await at.inside(b, 'ls -A; cat file')]).toEqual([
        'file\nold',
        'file\nold',
      ]);
    },
  );
});
