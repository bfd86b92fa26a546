import { describe, expect, it } from 'vitest';
import { dockerOk, mountpoint } from '../../support/engine.ts';
import { bash, failure, fingerprint, type Site, site } from '../../support/site.ts';
import { treeDifferences } from '../../support/trees.ts';

const TREE = `
  mkdir -p app/config app/data/deep other; echo conf >app/config/main.conf; echo other >other/first
  ln other/first app/data/link; ln other/first app/data/link2; echo deep >app/data/deep/file; echo top >top
  ln -s ../config app/data/symlink; setfattr -n user.note -v kept app/data/deep/file 2>/dev/null || true
  chown -R 70:71 app; chmod 2750 app/data; touch -d @1600000000.25 app/data/deep/file app/data app; chown 5:6 .; chmod 751 .; touch -d @1500000000.5 .`;

async function saved(): Promise<{
  at: Site;
  v: string;
  restore: (suffix: string, ...args: string[]) => Promise<string>;
}> {
  const at = await site();
  const v = await at.volume('v', TREE);
  await at.ok('backup', '--volume', v);
  return {
    at,
    v,
    restore: async (suffix, ...args) => {
      await at.ok('restore', v, '--to-volume', at.name(suffix), ...args);
      return at.inside(at.name(suffix), 'find . -mindepth 1 | sort | tr "\\n" " "');
    },
  };
}

describe('--path: only these paths', () => {
  it('a file, with the directories above it and their owners and modes', async () => {
    const { at, restore } = await saved();
    expect(await restore('r', '--path', 'app/data/deep/file')).toBe(
      './app ./app/data ./app/data/deep ./app/data/deep/file ',
    );
    const stat = 'stat -c "%u:%g %a %.2Y" . app/data app/data/deep/file; cat app/data/deep/file';
    expect(await at.inside(at.name('r'), stat)).toBe(
      '5:6 751 1500000000.50\n70:71 2750 1600000000.25\n70:71 644 1600000000.25\ndeep',
    );
  });

  it('a directory with all that is in it; several paths; with or without a leading slash', async () => {
    const { restore } = await saved();
    expect(await restore('r', '--path', '/app/config/', '--path', './top')).toBe(
      './app ./app/config ./app/config/main.conf ./top ',
    );
  });

  it('a hard link without its first name brings the content along, and links in the selection stay links', async () => {
    const { at, restore } = await saved();
    expect(await restore('r', '--path', 'other/first')).toBe('./other ./other/first ');
    await restore('s', '--path', 'app/data');
    expect(
      await at.inside(
        at.name('s'),
        'cat app/data/link app/data/link2; stat -c %h app/data/link; test app/data/link -ef app/data/link2 && echo same',
      ),
    ).toBe('other\nother\n2\nsame');
    expect(await restore('t', '--path', 'app/data/link2')).toBe('./app ./app/data ./app/data/link2 ');
    expect(await at.inside(at.name('t'), 'cat app/data/link2')).toBe('other');
  });

  it('a path that is not there: exit 10, and no volume is left', async () => {
    const { at, v } = await saved();
    const result = await at.run('restore', v, '--to-volume', at.name('r'), '--path', 'app/nothing');
    expect(result.exit).toBe(10);
    expect(failure(result)).toMatchObject({
      message: expect.stringContaining('app/nothing'),
      hint: expect.stringContaining('volbak ls'),
    });
    expect(await dockerOk(at.host, 'volume', 'inspect', at.name('r'))).toBe(false);
  });
});

describe('--strip-components: counted after the leading ./', () => {
  it('takes leading directories off names and off the targets of hard links; with --path only of those', async () => {
    const { at, restore } = await saved();
    await restore('r', '--strip-components', '1');
    expect(
      await at.inside(
        at.name('r'),
        'test first -ef data/link && test -f config/main.conf && ! test -e top && ls | tr "\\n" " "',
      ),
    ).toBe('config data first ');
    expect(await restore('s', '--path', 'app/data', '--strip-components', '2')).toBe(
      './deep ./deep/file ./link ./link2 ./symlink ',
    );
    expect(await at.inside(at.name('s'), 'cat link; test link -ef link2; readlink symlink')).toBe(
      'other\n../config',
    );
  });

  it('deeper than anything is: exit 10, and no volume is left', async () => {
    const { at, v } = await saved();
    expect((await at.run('restore', v, '--to-volume', at.name('r'), '--strip-components', '9')).exit).toBe(
      10,
    );
    expect(await dockerOk(at.host, 'volume', 'inspect', at.name('r'))).toBe(false);
  });
});

describe('--verify', () => {
  it('reads everything again and proves the digest; it does not go with a part of a volume', async () => {
    const { at, v } = await saved();
    const { volumes } = await at.ok('restore', v, '--to-volume', at.name('r'), '--verify');
    expect(volumes[0].digest).toBe((await at.document('show', v)).volumes[0].digest);
    expect((await at.run('restore', v, '--to-volume', at.name('s'), '--verify', '--path', 'top')).exit).toBe(
      2,
    );
  });
});

describe('--on-conflict', () => {
  it('replace: the old content is gone, the root is as in the snapshot, and nothing of volbak is left', async () => {
    const { at, v } = await saved();
    await at.inside(v, 'setfattr -n user.root -v kept . && touch -d @1500000000.5 .');
    await at.ok('backup', '--volume', v);
    const r = await at.volume(
      'r',
      'mkdir -p app/data; echo old >app/data/deep; echo old >only-old; mkdir top; mkfifo fifo; chmod 700 .; chown 9:9 .; mkdir .hidden; echo x >-rf',
    );
    await at.ok('restore', v, '--to-volume', r, '--on-conflict', 'replace', '--verify');
    expect(await treeDifferences(await mountpoint(at.host, v), await mountpoint(at.host, r))).toBe('');
  });

  it('overlay: old files stay, same names are replaced, directories are as in the snapshot', async () => {
    const { at, v } = await saved();
    const old =
      'mkdir -p app/data app/old; echo old >app/data/link; echo old >app/old/file; echo old >only-old; echo old >other; ln only-old hard; chmod 700 . app; chown 9:9 . app; touch -d @1 only-old';
    const r = await at.volume('r', old);
    await at.ok('restore', v, '--to-volume', r, '--on-conflict', 'overlay');
    expect(
      await at.inside(r, 'cat only-old app/old/file app/data/link other/first; stat -c %Y only-old; ls -A'),
    ).toBe('old\nold\nother\nother\n1\napp\nhard\nonly-old\nother\ntop');
    // Without what was only there before, it is the snapshot, to the root's own time.
    await at.inside(r, 'rm -r app/old only-old hard; touch -d @1600000000.25 app; touch -d @1500000000.5 .');
    const times = 'find . -printf "%p %m %U:%G %T@\\n" | sort';
    expect(await at.inside(r, times)).toBe(await at.inside(v, times));
    expect(await treeDifferences(await mountpoint(at.host, v), await mountpoint(at.host, r))).toBe('');
  });

  it('overlay sets owner, mode and time of directories that were there, also of the root', async () => {
    const { at, v } = await saved();
    const r = await at.volume(
      'r',
      'mkdir -p app/data; echo old >app/data/old; chmod 700 app/data .; chown 9:9 app/data .',
    );
    await at.ok('restore', v, '--to-volume', r, '--on-conflict', 'overlay');
    const stat = 'stat -c "%n %u:%g %a %.2Y" . app app/data';
    expect(await at.inside(r, stat)).toBe(await at.inside(v, stat));
  });

  it('overlay: a directory where a file shall be is refused (24), and nothing is changed', async () => {
    const { at, v } = await saved();
    const r = await at.volume(
      'r',
      'mkdir -p top/dir app; echo old >top/dir/file; echo old >app/config; echo old >zzz',
    );
    const dir = await mountpoint(at.host, r);
    const content = () =>
      bash('find . -mindepth 1 -printf "%p %y %i %n %m %U:%G %s %T@\\n" | sort', { cwd: dir });
    const before = await content();
    const result = await at.run('restore', v, '--to-volume', r, '--on-conflict', 'overlay');
    expect(result.exit).toBe(24);
    expect(failure(result).message).toContain('./top');
    expect(await content()).toBe(before);
  });

  it('overlay with --path: only those are replaced', async () => {
    const { at, v } = await saved();
    const r = await at.volume('r', 'mkdir -p app/config; echo old >app/config/main.conf; echo old >top');
    await at.ok('restore', v, '--to-volume', r, '--on-conflict', 'overlay', '--path', 'app/config/main.conf');
    expect(await at.inside(r, 'cat app/config/main.conf top; ls -A')).toBe('conf\nold\napp\ntop');
  });

  it('a file that a symbolic link leads to outside of the volume is never touched', async () => {
    const { at, v } = await saved();
    const outside = await at.volume('outside', 'mkdir config; echo mine >config/main.conf');
    const r = await at.volume(
      'r',
      `ln -s '${await mountpoint(at.host, outside)}' app; ln -s ../outside/top top`,
    );
    const before = await fingerprint(await mountpoint(at.host, outside));
    await at.ok('restore', v, '--to-volume', r, '--on-conflict', 'overlay');
    expect(await fingerprint(await mountpoint(at.host, outside))).toBe(before);
    expect(await at.inside(r, 'test ! -L app && test ! -L top && cat app/config/main.conf top')).toBe(
      'conf\ntop',
    );
  });
});
