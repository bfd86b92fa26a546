import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { derivedImage } from '../../support/databases.ts';
import { mountpoint } from '../../support/engine.ts';
import { eventually } from '../../support/scene.ts';
import { bash, failure, fingerprint, helpers, type Site, site, summary } from '../../support/site.ts';
import { tempDir } from '../../support/temp.ts';
import { SMALL_TREE } from '../../support/trees.ts';
import { finished, type Json, volbak } from '../../support/volbak.ts';

/** What a drill makes is named so. */
async function leftovers(at: Site): Promise<string[]> {
  const containers = await at.docker('ps', '-a', '--format', '{{.Names}}');
  const volumes = await at.docker('volume', 'ls', '--format', '{{.Name}}');
  return `${containers}\n${volumes}`.split('\n').filter((name) => name.startsWith('volbak-drill-'));
}

/** A backed up container whose image has a health check; its volume holds the file that the service needs. */
async function backedUp(at: Site, health = 'HEALTHCHECK CMD test -e /tmp/up'): Promise<string> {
  const run = 'test -e /data/file || exit 5; sleep 0.7; touch /tmp/up; exec sleep 600';
  const image = await derivedImage(at, 'busybox', { '/usr/bin/serve': `#!/bin/sh\n${run}` }, [
    'CMD ["serve"]',
    health,
  ]);
  const volume = await at.volume('v', 'echo hello >file; mkdir sub; seq 10000 >sub/numbers');
  const app = await at.container('app', '-v', `${volume}:/data`, image);
  await at.ok('backup', app);
  return app;
}

const outcomes = (drill: Json) => drill.checks.map((c: Json) => [c.name, c.passed]);

describe('volbak drill', () => {
  it('restores aside, compares, starts the image without network, waits until it is healthy, checks; nothing stays', async () => {
    const at = await site();
    const app = await backedUp(at);
    const before = await fingerprint(await mountpoint(at.host, at.name('v')));
    const check =
      'test "$(cat /data/file)" = hello && grep -c : /proc/net/dev && cat /sys/class/net/*/address | wc -l';
    const result = await at.run('drill', app, '--check', check);
    expect(result.exit).toBe(0);
    const drill = summary(result);
    expect(drill).toMatchObject({
      command: 'drill',
      exit: 0,
      passed: true,
      source: `host-a/container/${app}`,
      differences: [],
    });
    expect(outcomes(drill)).toEqual([
      ['restore', true],
      [`digest of ${at.name('v')}`, true],
      ['start', true],
      ['check', true],
    ]);
    expect(drill.checks.at(-1).detail).toBe('1'); // loopback alone
    expect(drill.rtoMs).toBeGreaterThan(drill.restoreMs + 700);
    expect(await leftovers(at)).toEqual([]);
    expect(await helpers(at.host)).toBe('');
    expect(await fingerprint(await mountpoint(at.host, at.name('v')))).toBe(before);
  });

  it('holds for links, holes, attributes, FIFOs, odd times and owners', async () => {
    const at = await site();
    const volume = await at.volume('tree', SMALL_TREE);
    await at.ok('backup', '--volume', volume);
    const drill = await at.ok('drill', volume);
    expect(outcomes(drill)).toEqual([
      ['restore', true],
      [`digest of ${volume}`, true],
    ]);
    expect(drill.rtoMs).toBe(drill.restoreMs);
  });

  it('starts a container that is still there by its own command; without it, its image', async () => {
    const at = await site();
    const volume = await at.volume('v', 'echo hello >file');
    const serve = 'test "$WORD" = given && touch /tmp/own && exec sleep 600';
    const app = at.name('app');
    await at.docker(
      'create',
      '--network',
      'none',
      '--name',
      app,
      '-v',
      `${volume}:/data`,
      '-e',
      'WORD=given',
      'busybox',
      'sh',
      '-c',
      serve,
    );
    await at.ok('backup', app);
    const own = await at.ok('drill', app, '--check', 'test -e /tmp/own && cat /data/file');
    expect(own.checks.at(-2).detail).toBe('it runs (there is no health check)');
    expect(own.checks.at(-1).detail).toBe('hello');

    // busybox's own command is a shell, which ends at once: then the check runs alone.
    await at.docker('rm', app);
    const alone = await at.ok('drill', app, '--check', 'cat /data/file && ! test -e /tmp/own');
    expect(alone.checks.at(-2)).toMatchObject({ name: 'start', passed: true });
    expect(alone.checks.at(-2).detail).toContain('exit code 0, as that of no service does');
    expect(alone.checks.at(-1).detail).toBe('hello');
    const failing = await at.run('drill', app, '--check', 'echo not that >&2; exit 7');
    expect(failing.exit).toBe(41);
    expect(summary(failing).checks.at(-1).detail).toBe('it ended with exit code 7: not that');
    const slow = await at.run('drill', app, '--check', 'sleep 100', '--timeout', '2s');
    expect(slow.exit).toBe(41);
    expect(await leftovers(at)).toEqual([]);
  });

  it('of an image without a command runs the check alone, and with a recipe what that says', async () => {
    const at = await site();
    const image = `${at.name('bare')}:latest`;
    const made = await at.container('made', 'busybox');
    await bash(`docker -H ${at.host} export ${made} | docker -H ${at.host} import - ${image} >&2`);
    const volume = await at.volume('v', 'echo hello >file');
    const app = await at.container('app', '-v', `${volume}:/data`, image, 'gone');
    await at.ok('backup', app);
    await at.docker('rm', app);
    const bare = await at.ok('drill', app, '--check', '/bin/cat /data/file');
    expect(bare.checks.at(-2).detail).toBe('the image has no command of its own');
    expect(bare.checks.at(-1).detail).toBe('hello');

    const recipe = path.join(await tempDir(), 'recipe.yaml');
    await writeFile(recipe, "about: x\ndrill: {start: '/bin/touch /tmp/started; exec /bin/sleep 600'}\n");
    const started = await at.ok('drill', app, '--recipe', recipe, '--check', '/bin/ls /tmp/started');
    expect(started.checks.at(-2).detail).toBe('it runs (there is no health check)');
    expect(await leftovers(at)).toEqual([]);
  });

  it('of a service that does not come up is exit 41, and says why', async () => {
    const at = await site();
    const app = await backedUp(at);
    const broken = await derivedImage(at, 'busybox', {}, ['CMD ["sh", "-c", "echo no config >&2; exit 3"]']);
    const wrong = await at.run('drill', app, '--image', broken, '--timeout', '5s');
    expect(wrong.exit).toBe(41);
    expect(summary(wrong)).toMatchObject({ passed: false, rtoMs: null });
    expect(summary(wrong).checks.at(-1)).toMatchObject({
      name: 'start',
      passed: false,
      detail: 'it ended with exit code 3; its log ends with: no config',
    });

    const missing = await at.run('drill', app, '--image', 'localhost:1/no/such:image');
    expect(missing.exit).toBe(41);
    expect(summary(missing).checks.at(-1).detail).toContain("has no image 'localhost:1/no/such:image'");
    expect(await leftovers(at)).toEqual([]);
  });

  it('of a service that never gets healthy ends after --timeout, with the last words of its health check', async () => {
    const at = await site();
    const app = await backedUp(at, 'HEALTHCHECK CMD echo still asleep; exit 1');
    const result = await at.run('drill', app, '--timeout', '3s');
    expect(result.exit).toBe(41);
    expect(summary(result).checks.at(-1).detail).toBe(
      'not healthy within 3 s: its health check ended with exit code 1: still asleep',
    );
    expect(await leftovers(at)).toEqual([]);
  });

  it('of a check that fails is exit 41, with what it said', async () => {
    const at = await site();
    const app = await backedUp(at);
    const result = await at.run('drill', app, '--check', 'echo 3 rows, not 5 >&2; exit 1');
    expect(result.exit).toBe(41);
    expect(summary(result).checks.at(-1)).toMatchObject({
      name: 'check',
      passed: false,
      detail: 'it ended with exit code 1: 3 rows, not 5',
    });
    expect(summary(result).rtoMs).toBeGreaterThan(0);
  });

  it('names each file that a faulty restore brought back otherwise', async () => {
    const at = await site();
    const app = await backedUp(at);
    // A helper whose tar loses something on the way back.
    const tar = `#!/bin/sh
/usr/bin/real-tar "$@" || exit $?
case "$*" in *--extract*) chmod 600 sub/numbers; echo hellO >file; rmdir gone; touch extra ;; esac`;
    await at.inside(at.name('v'), 'mkdir gone');
    await at.ok('backup', app);
    const move = ['cp /usr/bin/tar /usr/bin/real-tar', 'rm /usr/bin/tar'].join('; ');
    const helper = at.name('image-bad');
    await at.docker(
      'run',
      '--network',
      'none',
      '--name',
      helper,
      'toolbox',
      'sh',
      '-euc',
      `${move}; cat >/usr/bin/tar <<'E'\n${tar}\nE\nchmod 755 /usr/bin/tar`,
    );
    await at.docker('commit', helper, `${helper}:latest`);
    const junit = path.join(await tempDir(), 'junit.xml');
    const markdown = path.join(await tempDir(), 'drill.md');
    const result = await at.run(
      '--helper-image',
      `${helper}:latest`,
      'drill',
      app,
      '--junit',
      junit,
      '--markdown',
      markdown,
    );
    expect(result.exit).toBe(41);
    const volume = at.name('v');
    expect(summary(result).differences.filter((d: Json) => d.path !== '.')).toEqual([
      { volume, path: './extra', what: 'extra' },
      { volume, path: './file', what: 'changed', fields: ['mtime', 'content'] },
      { volume, path: './gone', what: 'missing' },
      { volume, path: './sub/numbers', what: 'changed', fields: ['mode'] },
    ]);
    expect(await readFile(junit, 'utf8')).toMatch(
      /failures="1"[\s\S]*<failure message="\d files not as in the snapshot: /,
    );
    expect(await readFile(markdown, 'utf8')).toContain('./sub/numbers | mode |');
    expect(await leftovers(at)).toEqual([]);
  });

  it('of a damaged repository is exit 41, and the restore is what failed', async () => {
    const at = await site();
    const volume = await at.volume('v', 'head -c 3000000 /dev/urandom >random');
    await at.ok('backup', '--volume', volume);
    await bash(
      `f=$(find '${at.repo}/segments' -name '*.zst' -size +1M); chmod u+w "$f"; printf x | dd of="$f" bs=1 seek=1500000 conv=notrunc status=none`,
    );
    const result = await at.run('drill', volume);
    expect(result.exit).toBe(41);
    expect(summary(result).checks).toMatchObject([
      { name: 'restore', passed: false, detail: expect.stringContaining('damaged') },
    ]);
    expect(await leftovers(at)).toEqual([]);
  });

  it('--all drills the newest of every source, and one that fails does not keep it from the others', async () => {
    const at = await site();
    const app = await backedUp(at);
    const other = await at.volume('other', 'echo 1 >one');
    const ended = await at.container('ended', '-v', `${other}:/data`, 'busybox', 'false');
    await at.ok('backup', ended);
    await at.ok('backup', app, '--volume', other);
    await at.ok('handle', app, '--capture', 'out.txt', '--', 'busybox', 'echo', 'text');
    const markdown = path.join(await tempDir(), 'drill.md');
    const result = await at.run('drill', '--all', '--markdown', markdown);
    expect(result.exit).toBe(41);
    const drills = Object.fromEntries(
      summary(result).drills.map((d: Json) => [d.source.split('/').slice(1).join('/'), d.passed]),
    );
    expect(drills).toEqual({
      [`container/${app}`]: true,
      [`container/${app}:out.txt`]: true,
      [`container/${ended}`]: false, // its command fails
      [`volume/${other}`]: true,
    });
    expect(await readFile(markdown, 'utf8')).toContain('1 of 4 failed');
    expect(await leftovers(at)).toEqual([]);
  });

  it('mounts a volume that was backed up by itself below /volumes', async () => {
    const at = await site();
    const volume = await at.volume('v', 'echo hello >file');
    await at.ok('backup', '--volume', volume);
    const app = await derivedImage(at, 'busybox', {}, ['CMD ["sleep", "600"]']);
    const passed = await at.ok('drill', volume, '--image', app, '--check', `cat /volumes/${volume}/file`);
    expect(passed.checks.at(-1)).toMatchObject({ name: 'check', passed: true, detail: 'hello' });
  });

  it('--keep leaves volumes and service there, also for the next command, and says how they go', async () => {
    const at = await site();
    const app = await backedUp(at);
    const globals = at.globals.filter((word) => word !== '--json');
    const { stdout, exit } = await volbak([...globals, 'drill', app, '--keep']);
    expect(exit).toBe(0);
    await at.document('doctor').catch(() => {});
    const [container, ...rest] = await leftovers(at);
    expect(rest).toHaveLength(1);
    expect(await at.docker('exec', container as string, 'cat', '/data/file')).toBe('hello');
    const commands = [...stdout.matchAll(/kept: [^;]*; (docker .*)/g)].map((match) => match[1] as string);
    for (const command of commands) await at.docker(...command.split(' ').slice(1));
    expect(await leftovers(at)).toEqual([]);
  });

  it('killed with SIGTERM cleans up; killed with SIGKILL the next command does', async () => {
    const at = await site();
    const app = await backedUp(at, 'HEALTHCHECK CMD exit 1');
    for (const [signal, exit] of [
      ['SIGTERM', 143],
      ['SIGKILL', 137],
    ] as const) {
      const child = await at.start('drill', app);
      child.stdin.end();
      const end = finished(child);
      await eventually(
        'the service runs',
        async () => (await at.docker('ps', '-q', '--filter', 'label=io.volbak.scratch')) !== '',
      );
      child.kill(signal);
      expect((await end).exit).toBe(exit);
      expect(await leftovers(at)).toHaveLength(signal === 'SIGKILL' ? 2 : 0);
    }
    await at.ok('backup', '--volume', at.name('v'));
    expect(await leftovers(at)).toEqual([]);
  });

  it('of nothing, or without saying of what, is an error', async () => {
    const at = await site();
    await at.ok('init');
    expect((await at.run('drill')).exit).toBe(2);
    expect(failure(await at.run('drill', '--all'))).toMatchObject({ code: 'SNAPSHOT_NOT_FOUND' });
    expect(failure(await at.run('drill', 'x', '--recipe', 'rsync'))).toMatchObject({
      code: 'USAGE',
      hint: 'volbak handle <container> --recipe rsync',
    });
  });
});
