import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { mountpoint } from '../../support/engine.ts';
import { restoreWithoutVolbak } from '../../support/main-job.ts';
import { bash, failure, helperAtWork, helpers, type Site, site, summary } from '../../support/site.ts';
import { tempDir } from '../../support/temp.ts';
import { type Json, volbakOk } from '../../support/volbak.ts';

/** A container with 40 MB that cannot be compressed. */
async function big(at: Site): Promise<string> {
  const volume = await at.volume('v', 'head -c 40000000 /dev/urandom >big');
  return at.container('app', '-v', `${volume}:/data`, 'toolbox', 'true');
}

const dump = ['--', 'toolbox', 'cat', '/data/big'];

describe('volbak handle --capture', () => {
  it('keeps the output as a snapshot that everything works on: list, verify, restore, export, by hand', async () => {
    const at = await site();
    const app = await big(at);
    const { snapshot, handlerExit } = await at.ok(
      'handle',
      app,
      '--capture',
      'db.dump',
      '--tag',
      'why=test',
      ...dump,
    );
    expect(handlerExit).toBe(0);
    expect(snapshot).toMatchObject({
      source: `host-a/container/${app}:db.dump`,
      file: 'db.dump',
      bytes: 40_000_000,
    });
    const ref = `${app}:db.dump`;
    const sum = await at.inside(at.name('v'), 'sha256sum <big');

    const listed = await at.document('snapshots');
    expect(listed).toMatchObject([{ id: snapshot.id, status: 'complete', tags: { why: 'test' } }]);
    const shown = await at.document('show', ref);
    expect(shown.volumes[0]).toMatchObject({
      name: 'db.dump',
      captured: true,
      entries: 2,
      readBytes: 40_000_000,
    });
    expect((await at.document('ls', ref)).map((entry: Json) => entry.path)).toEqual(['.', './db.dump']);
    expect((await at.ok('verify')).errors).toEqual([]);

    const volume = at.name('restored');
    await at.ok('restore', ref, '--to-volume', volume, '--verify');
    expect(
      await bash('sha256sum <db.dump; stat -c "%a %u" db.dump', { cwd: await mountpoint(at.host, volume) }),
    ).toBe(`${sum}\n600 0`);
    const tar = path.join(await tempDir(), 'out.tar');
    await at.ok('export', ref, '-o', tar);
    expect(await bash(`tar -tf '${tar}'; tar -xOf '${tar}' ./db.dump | sha256sum`)).toBe(
      `./\n./db.dump\n${sum}`,
    );
    const byHand = await restoreWithoutVolbak(at.repo, snapshot.id, 'db.dump');
    expect(await bash(`sha256sum <'${byHand}/db.dump'`)).toBe(sum);
  });

  it('stores of the next one only what is new', async () => {
    const at = await site();
    const app = await big(at);
    const first = await at.ok('handle', app, '--capture', 'db.dump', ...dump);
    expect(first.snapshot.newBytes).toBeGreaterThan(40_000_000);
    await at.inside(at.name('v'), `sed -i '1s/^/-- another dump\\n/' big; echo end >>big`);
    const second = await at.ok('handle', app, '--capture', 'db.dump', ...dump);
    expect(second.snapshot.newBytes).toBeGreaterThan(0);
    expect(second.snapshot.newBytes).toBeLessThan(6_000_000);
    expect((await at.ok('verify')).errors).toEqual([]);
  });

  it("is a source of its own: the container's newest snapshot stays that of its volumes", async () => {
    const at = await site();
    const app = await big(at);
    const { id } = (await at.ok('backup', app)).snapshots[0];
    await at.ok('handle', app, '--capture', 'db.dump', ...dump);
    expect((await at.document('show', app)).id).toBe(id);
    expect((await at.document('show', `${app}@latest`)).id).toBe(id);
  });

  it('keeps nothing of a handler that fails after it printed', async () => {
    const at = await site();
    const app = await big(at);
    const script = 'cat /data/big; exit 9';
    const result = await at.run('handle', app, '--capture', 'db.dump', '--', 'toolbox', 'sh', '-c', script);
    expect(result.exit).toBe(50);
    expect(summary(result).handlerExit).toBe(9);
    expect(failure(result).message).toMatch(/nothing was kept$/);
    expect(await at.document('snapshots')).toEqual([]);
    expect(await at.inside(at.name('v'), 'ls')).toBe('big');
    // What was stored is no loss: the next one takes it.
    const next = await at.ok('handle', app, '--capture', 'db.dump', ...dump);
    expect((await at.ok('verify')).errors).toEqual([]);
    expect(next.snapshot.bytes).toBe(40_000_000);
  });

  it('keeps nothing where somebody kills or removes the handler', async () => {
    const at = await site();
    const app = await big(at);
    for (const verb of [['kill'], ['rm', '-f']]) {
      const script = 'head -c 1000000 /data/big; exec sleep 60';
      const running = at.run('handle', app, '--capture', 'db.dump', '--', 'toolbox', 'sh', '-c', script);
      const id = await helperAtWork(at.host, 'handler');
      await at.docker(...verb, id);
      const result = await running;
      expect([22, 50]).toContain(result.exit);
      expect(await helpers(at.host)).toBe('');
      expect(await at.document('snapshots')).toEqual([]);
    }
  });

  it('of nothing is an empty file, and says so', async () => {
    const at = await site();
    const app = await big(at);
    const result = await at.run('handle', app, '--capture', 'db.dump', '--', 'toolbox', 'true');
    expect(result.exit).toBe(0);
    expect(result.json.find((e) => e.event === 'warning').message).toBe('the handler printed nothing');
    await at.ok('restore', `${app}:db.dump`, '--to-volume', at.name('restored'), '--verify');
    expect(await at.inside(at.name('restored'), 'stat -c %s db.dump')).toBe('0');
  });

  it('into an encrypted repository, by a host that cannot read it: only what is new is stored, and the key reads it', async () => {
    const key = path.join(await tempDir(), 'key');
    const recipient = (await bash(`age-keygen -o '${key}' 2>/dev/null; age-keygen -y '${key}'`)).trim();
    const at = await site();
    await at.ok('init', '--encrypt-to', recipient);
    const app = await big(at);
    await at.ok('handle', app, '--capture', 'db.dump', ...dump);
    await at.inside(at.name('v'), 'echo end >>big');
    const second = await at.ok('handle', app, '--capture', 'db.dump', ...dump);
    expect(second.snapshot.newBytes).toBeLessThan(6_000_000);
    expect((await at.run('show', `${app}:db.dump`)).exit).toBe(12);
    const env = { VOLBAK_IDENTITY_FILE: key };
    const restored = ['restore', `${app}:db.dump`, '--to-volume', at.name('restored'), '--verify'];
    await volbakOk([...at.globals, ...restored], { env });
    const sum = await at.inside(at.name('v'), 'sha256sum <big');
    expect(await at.inside(at.name('restored'), 'sha256sum <db.dump')).toBe(sum);
  });
});
