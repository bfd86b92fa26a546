import { copyFile } from 'node:fs/promises';
import path from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { requireVolbakImage, socketGroup, VOLBAK_IMAGE } from '../../support/container.ts';
import { requireImages } from '../../support/databases.ts';
import { cleanEnv, docker } from '../../support/engine.ts';
import { runScript } from '../../support/run-script.ts';
import { eventually } from '../../support/scene.ts';
import { bash } from '../../support/site.ts';
import { afterwards, tempDir } from '../../support/temp.ts';
import { type Json, projectRoot } from '../../support/volbak.ts';

let host = '';

/** An engine that has networks for Compose, and the images that the recipe names. */
beforeAll(async () => {
  await runScript('packages.sh', ['docker-compose=docker-compose']);
  const dir = await tempDir('volbak-compose-');
  afterwards(() => runScript('engines.sh', ['stop', dir]));
  host = (await runScript('engines.sh', ['start', dir, 'bridge'])).trim();
  await requireImages(host, 'busybox', 'redis');
  await requireVolbakImage(host);
  await docker(host, 'tag', VOLBAK_IMAGE, 'volbak');
}, 600_000);

/** The recipe in a directory of its own, as somebody would copy it. */
async function project(env: Record<string, string>): Promise<(...words: string[]) => Promise<string>> {
  const dir = await tempDir();
  for (const name of ['compose.yaml', '.env'])
    await copyFile(path.join(projectRoot, 'recipes/compose', name), path.join(dir, name));
  const compose = (...words: string[]) =>
    bash(`docker-compose --file compose.yaml --ansi never ${words.join(' ')}`, {
      cwd: dir,
      env: { ...cleanEnv(), DOCKER_HOST: host, ...env },
    });
  afterwards(() => compose('down', '--volumes'));
  return compose;
}

/** What a receiver of notifications in the project's network got. */
async function listener(): Promise<() => Promise<Json[]>> {
  const script = `require('http').createServer((q, s) => {
    let body = '';
    q.on('data', (part) => { body += part; }).on('end', () => { console.log(body); s.end(); });
  }).listen(8080)`;
  const options = ['--network', 'shop_default', '--network-alias', 'listener', '--entrypoint', 'node'];
  await docker(host, 'run', '-d', '--name', 'listener', ...options, VOLBAK_IMAGE, '-e', script);
  return async () => {
    const lines = (await docker(host, 'logs', 'listener')).split('\n');
    return lines.filter((line) => line !== '').map((line) => JSON.parse(line));
  };
}

describe('recipes/compose/compose.yaml', () => {
  it.each(['as it is', 'not as root'])(
    'one `up` away from snapshots on schedule, verified, drilled and told of: %s',
    async (how) => {
      const compose = await project({
        BACKUP_SCHEDULE: '*/10 * * * * *',
        NOTIFY_URL: 'http://listener:8080/',
        ...(how === 'as it is' ? {} : { VOLBAK_USER: `1000:${await socketGroup(host)}` }),
      });
      await compose('up', '--detach', '--no-build');
      const news = await listener();
      afterwards(() => docker(host, 'rm', '-f', 'listener'));
      await compose('exec', '-T', 'web', 'sh', '-c', "'echo hello >/www/index.html'");
      await compose('exec', '-T', 'db', 'redis-cli', 'set', 'answer', '42');
      const volbak = (...words: string[]) => compose('exec', '-T', 'volbak', 'volbak', ...words);
      const done = async (job: string) =>
        (await news()).filter((one) => one.job === job && one.event === 'success').length;
      for (const job of ['web_1:backup', 'web_1:verify', 'web_1:forget', 'db_1:backup', 'db_1:drill'])
        await eventually(`${job} was done and told of`, async () => (await done(`shop_${job}`)) > 1, 90);
      expect((await news()).filter(({ event }) => event !== 'success')).toEqual([]);

      const snapshots: Json[] = JSON.parse(await volbak('snapshots', '--json'));
      const sources = new Set(snapshots.map(({ source, status }) => `${source} ${status}`));
      expect([...sources].sort()).toEqual(
        ['db_1', 'web_1'].map((name) => `host-a/container/shop_${name} complete`),
      );
      expect(await volbak('validate')).toMatch(/is right/);

      await compose('stop', '--timeout', '60', 'volbak');
      const state = (name: string) => docker(host, 'inspect', '-f', '{{.State.Status}}', `shop_${name}_1`);
      expect([await state('web'), await state('db')]).toEqual(['running', 'running']);
      await compose('exec', '-T', 'web', 'rm', '/www/index.html');
      const restore = 'restore shop_web_1 --into shop_web_1 --on-conflict replace --verify';
      await compose('run', '--rm', '-T', 'volbak', restore);
      expect(await compose('exec', '-T', 'web', 'cat', '/www/index.html')).toBe('hello');
      expect(await docker(host, 'ps', '-aq', '--filter', 'label=io.volbak.helper-run')).toBe('');
    },
    300_000,
  );
});
