import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { running } from '../../support/running.ts';
import { failure, helpers, type Site, site, warnings } from '../../support/site.ts';
import { tempDir } from '../../support/temp.ts';

async function recipe(text: string): Promise<string> {
  const file = path.join(await tempDir(), 'hooks.yaml');
  await writeFile(file, `about: for a test\nhandler:\n  image: busybox\n${text}`);
  return file;
}

async function app(at: Site): Promise<string> {
  const volume = await at.volume('v');
  return running(at, 'app', '-v', `${volume}:/data`);
}

const log = (at: Site) => at.inside(at.name('v'), 'cat log 2>/dev/null || true');

describe('hooks of a handler, run in the source container', () => {
  it('run before and after it, with the user that they name', async () => {
    const at = await site();
    const name = await app(at);
    await at.inside(at.name('v'), 'touch log; chmod 666 log');
    const file = await recipe(`  read-write: true
  command: echo handler >>/data/log
  hooks:
    before:
      - command: echo "before $(id -u)" >>/data/log
        user: nobody
      - command: [sh, -c, "echo second $(id -u) >>/data/log"]
    after:
      - command: echo after >>/data/log
`);
    await at.ok('handle', name, '--recipe', file);
    expect(await log(at)).toBe('before 65534\nsecond 0\nhandler\nafter');
  });

  it('a before-hook that fails skips the handler; after-hooks run all the same, and it is exit 50', async () => {
    const at = await site();
    const name = await app(at);
    const file = await recipe(`  read-write: true
  command: echo handler >>/data/log
  hooks:
    before:
      - command: echo tried >>/data/log; echo cannot freeze >&2; exit 4
      - command: echo never >>/data/log
    after:
      - command: exit 1
      - command: echo after >>/data/log
`);
    const result = await at.run('handle', name, '--recipe', file);
    expect(result.exit).toBe(50);
    expect(failure(result).message).toBe(`the before-hook in ${name} ended with exit code 4: cannot freeze`);
    expect(warnings(result)).toEqual([`the after-hook in ${name} ended with exit code 1`]);
    expect(await log(at)).toBe('tried\nafter');
    expect(await helpers(at.host)).toBe('');
  });

  it('`on-error: continue` goes on with a warning', async () => {
    const at = await site();
    const name = await app(at);
    const file = await recipe(`  read-write: true
  command: echo handler >>/data/log
  hooks:
    before: [{ command: exit 4, on-error: continue }]
    after: [{ command: [no-such-program], on-error: continue }]
`);
    const result = await at.run('handle', name, '--recipe', file);
    expect(result.exit).toBe(0);
    expect(warnings(result)).toHaveLength(2);
    expect(warnings(result)[1]).toContain('no-such-program');
    expect(await log(at)).toBe('handler');
  });

  it('after-hooks run when the handler fails; one that fails itself makes a good run fail', async () => {
    const at = await site();
    const name = await app(at);
    const failing = await recipe(`  command: exit 9
  hooks:
    after: [{ command: echo after >>/data/log }]
`);
    expect((await at.run('handle', name, '--recipe', failing)).exit).toBe(50);
    expect(await log(at)).toBe('after');
    const bad = await recipe(`  command: "true"
  hooks:
    after: [{ command: exit 2 }]
`);
    const result = await at.run('handle', name, '--recipe', bad);
    expect(failure(result)).toMatchObject({
      code: 'HANDLER_FAILED',
      message: `the after-hook in ${name} ended with exit code 2`,
    });
  });

  it('a hook that takes too long is ended, with what it started', async () => {
    const at = await site();
    const name = await app(at);
    const file = await recipe(`  command: "true"
  hooks:
    before: [{ command: "sleep 12345 & sleep 54321", timeout: 1s }]
`);
    const result = await at.run('handle', name, '--recipe', file);
    expect(failure(result).message).toBe(`the before-hook in ${name} did not end within 1 s`);
    expect(await at.docker('top', name)).not.toMatch(/12345|54321/);
  });

  it('in a container that does not run is an error', async () => {
    const at = await site();
    const name = await app(at);
    await at.docker('kill', name);
    const file = await recipe('  command: "true"\n  hooks:\n    before: [{ command: "true" }]\n');
    const result = await at.run('handle', name, '--recipe', file);
    expect(result.exit).toBe(50);
    expect(failure(result).message).toContain('is not running');
  });

  it('`quiesce: pause` holds the container after its before-hooks and lets it go before the after-hooks', async () => {
    const at = await site();
    const name = await app(at);
    const file = await recipe(`  quiesce: pause
  command: cat /data/log
  hooks:
    before: [{ command: echo before >>/data/log }]
    after: [{ command: echo after >>/data/log }]
`);
    const result = await at.run('handle', name, '--recipe', file);
    expect(result.exit).toBe(0);
    expect(result.json.filter((e) => e.event === 'log').map((e) => e.text)).toEqual(['before']);
    expect(await log(at)).toBe('before\nafter');
    expect(await at.docker('inspect', '-f', '{{.State.Status}}', name)).toBe('running');
  });

  it('a recipe with an unknown key is exit 78 before anything runs', async () => {
    const at = await site();
    const name = await app(at);
    const file = await recipe('  command: echo handler >>/data/log\n  reed-write: true\n');
    const result = await at.run('handle', name, '--recipe', file);
    expect(result.exit).toBe(78);
    expect(failure(result).message).toBe(`${file}:5:3: unknown key 'reed-write'; did you mean 'read-write'?`);
  });
});
