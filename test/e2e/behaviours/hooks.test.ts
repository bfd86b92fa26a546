import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { running, stateOf } from '../../support/running.ts';
import { failure, site, warnings } from '../../support/site.ts';
import { tempDir } from '../../support/temp.ts';
import { twoEngines } from '../migrate/support.ts';

async function recipe(text: string): Promise<string> {
  const file = path.join(await tempDir(), 'around.yaml');
  await writeFile(file, `about: for a test\nbackup:\n${text}`);
  return file;
}

const AROUND = `  hooks:
    before:
      - command: echo "before $(id -u)" >>/data/log; echo dump >/data/dump
        user: nobody
    after:
      - command: echo after >>/data/log
`;
const OPEN = 'chmod 777 .; touch log; chmod 666 log';

describe('hooks around a backup, run in the source container', () => {
  it.each(['none', 'pause', 'stop'])(
    'quiesce: %s: what a before-hook writes is in the snapshot, what an after-hook writes is not',
    async (quiesce) => {
      const at = await site();
      const volume = await at.volume('v', OPEN);
      const app = await running(at, 'app', '-v', `${volume}:/data`);
      const file = await recipe(`  quiesce: ${quiesce}\n${AROUND}`);
      const { snapshots } = await at.ok('backup', app, '--recipe', file);
      expect(snapshots[0].downtimeMs > 0).toBe(quiesce !== 'none');
      expect(await stateOf(at, app)).toBe('running');
      expect(await at.inside(volume, 'cat log')).toBe('before 65534\nafter');
      await at.ok('restore', app, '--to-volume', at.name('back'), '--verify');
      expect(await at.inside(at.name('back'), 'cat log dump')).toBe('before 65534\ndump');
    },
  );

  it('a before-hook that fails skips the data: exit 50, no snapshot, nothing was stopped; after-hooks run', async () => {
    const at = await site();
    const volume = await at.volume('v', OPEN);
    const app = await running(at, 'app', '-v', `${volume}:/data`);
    const started = await at.docker('inspect', '-f', '{{.State.StartedAt}}', app);
    const file = await recipe(
      '  quiesce: stop\n  hooks:\n    before: [{ command: echo cannot freeze >&2; exit 4 }]\n    after: [{ command: echo after >>/data/log }]\n',
    );
    const result = await at.run('backup', app, '--recipe', file);
    expect(result.exit).toBe(50);
    expect(failure(result).message).toContain('cannot freeze');
    expect(await at.document('snapshots')).toEqual([]);
    expect(await at.inside(volume, 'cat log')).toBe('after');
    expect(await at.docker('inspect', '-f', '{{.State.StartedAt}}', app)).toBe(started);
  });

  it('on-error: continue goes on with a warning; --stop comes before what the recipe says', async () => {
    const at = await site();
    const volume = await at.volume('v', OPEN);
    const app = await running(at, 'app', '-v', `${volume}:/data`);
    const started = await at.docker('inspect', '-f', '{{.State.StartedAt}}', app);
    const file = await recipe(
      '  quiesce: pause\n  hooks:\n    before: [{ command: exit 4, on-error: continue }]\n',
    );
    const result = await at.run('backup', app, '--recipe', file, '--stop');
    expect(result.exit, result.stdout).toBe(0);
    expect(warnings(result).join()).toContain('exit code 4');
    expect(await at.docker('inspect', '-f', '{{.State.StartedAt}}', app)).not.toBe(started);
  });

  it('a recipe that says nothing about backups, and hooks for a volume by itself: exit 2', async () => {
    const at = await site();
    const volume = await at.volume('v', OPEN);
    expect((await at.run('backup', '--volume', volume, '--recipe', 'file-count')).exit).toBe(2);
    const result = await at.run('backup', '--volume', volume, '--recipe', await recipe(AROUND));
    expect(result.exit).toBe(2);
    expect(failure(result).message).toContain(volume);
  });
});

describe('hooks around the stop of a migration', () => {
  it('what a before-hook writes arrives; the after-hook runs when the container runs again', async () => {
    const { at, other, there } = await twoEngines();
    const volume = await at.volume('v', OPEN);
    const app = await running(at, 'app', '-v', `${volume}:/data`);
    await at.ok('migrate', app, '--to-host', other, '--recipe', await recipe(AROUND));
    expect(await at.inside(volume, 'cat log')).toBe('before 65534\nafter');
    const cat = ['run', '--rm', '--network', 'none', '-v', `${volume}:/data`, 'toolbox', 'cat', '/data/log'];
    expect(await there(...cat)).toBe('before 65534');
  });

  it('a before-hook that fails: exit 50, nothing was stopped, the target has no volume, after-hooks run', async () => {
    const { at, other, there } = await twoEngines();
    const volume = await at.volume('v', OPEN);
    const app = await running(at, 'app', '-v', `${volume}:/data`);
    const started = await at.docker('inspect', '-f', '{{.State.StartedAt}}', app);
    const file = await recipe(
      '  hooks:\n    before: [{ command: exit 4 }]\n    after: [{ command: echo after >>/data/log }]\n',
    );
    const stays = ['--keep-source-stopped', '--recipe', file];
    expect((await at.run('migrate', app, '--to-host', other, ...stays)).exit).toBe(50);
    expect(await at.inside(volume, 'cat log')).toBe('after');
    expect(await at.docker('inspect', '-f', '{{.State.StartedAt}}', app)).toBe(started);
    expect(await there('volume', 'ls', '-q', '--filter', `name=${volume}`)).toBe('');
  });
});
