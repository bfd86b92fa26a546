import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { failure, type Site, site } from '../../support/site.ts';
import { tempDir } from '../../support/temp.ts';
import { type Json, type VolbakResult, volbak } from '../../support/volbak.ts';

const O = 'docker-volume-backup.';

async function container(at: Site, ...labels: string[]): Promise<string> {
  const name = at.name('db');
  await at.docker(
    ...['run', '-d', '--network', 'none', '--stop-signal', 'KILL', '--name', name],
    ...[`site=${at.name()}`, ...labels].flatMap((label) => ['--label', label]),
    ...['-v', `${name}-data:/data`, 'toolbox', 'sh', '-c', 'echo one >>/data/file; sleep 600'],
  );
  return name;
}

async function run(at: Site, job: string, more = ''): Promise<VolbakResult> {
  const file = path.join(await tempDir(), 'volbak.yaml');
  const labels = `labels: { filter: "site=${at.name()}", offen: true }`;
  await writeFile(
    file,
    `repositories: { main: { url: ${at.repo} } }\ndefaults: { host: "${at.host}" }\n${labels}\n${more}`,
  );
  return volbak(['--config', file, '--helper-image', 'toolbox', '--json', 'run', job]);
}

const files = async (at: Site, name: string) =>
  (await at.document('ls', name)).map(({ path: file }: Json) => file.split('/').at(-1)).sort();

describe('what is run in a container before and after its backup', () => {
  it("offen's labels: the dump of archive-pre is in the snapshot, archive-post removed it, and the container runs again", async () => {
    const at = await site();
    const name = await container(
      at,
      `${O}stop-during-backup=true`,
      `${O}archive-pre=/bin/sh -c 'id -u > /data/dump'`,
      `${O}archive-pre.user=7`,
      `${O}archive-post=rm /data/dump`,
    );
    await at.docker('exec', name, 'chmod', '777', '/data');
    expect(await run(at, `${name}:backup`)).toMatchObject({ exit: 0 });
    expect(await files(at, name)).toEqual(expect.arrayContaining(['dump', 'file']));
    expect(await at.docker('exec', name, 'cat', '/data/file')).toBe('one\none');
    expect(await at.docker('exec', name, 'ls', '/data')).toBe('file');
  });

  it('one that fails before: no snapshot, exit 50, what comes after is run all the same', async () => {
    const at = await site();
    const name = await container(
      at,
      'volbak.enable=true',
      'volbak.before=echo no disk >&2; exit 4',
      'volbak.after=touch /data/after',
    );
    const result = await run(at, `${name}:backup`);
    expect(failure(result)).toMatchObject({ code: 'HANDLER_FAILED', exit: 50 });
    expect(failure(result).message).toContain('before-hook');
    expect(failure(result).message).toContain('no disk');
    expect(await at.docker('exec', name, 'ls', '/data')).toBe('after\nfile');
    expect((await at.run('snapshots')).exit).toBe(10);
  });

  it('one that fails after: the snapshot is there, and the job failed', async () => {
    const at = await site();
    const name = await container(at);
    const job = `jobs: { one: { backup: { containers: [${name}] }, hooks: { container: ${name}, after: "exit 3" } } }\n`;
    expect(failure(await run(at, 'one', job))).toMatchObject({ code: 'HANDLER_FAILED' });
    expect(await at.document('snapshots')).toHaveLength(1);
  });
});
