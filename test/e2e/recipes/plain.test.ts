import { beforeAll, describe, expect, it } from 'vitest';
import { derivedImage, requireImages } from '../../support/databases.ts';
import { engines, mountpoint } from '../../support/engine.ts';
import { bash, failure, type Site, site } from '../../support/site.ts';
import { tempDir } from '../../support/temp.ts';
import { SMALL_TREE, treeDifferences } from '../../support/trees.ts';

beforeAll(() => requireImages(engines().a, 'rsync', 'web'));

/** A container with two volumes, at /data and /logs. */
async function app(at: Site): Promise<string> {
  await at.volume('data', 'echo one >"a b"; mkdir sub; echo two >sub/c');
  await at.volume('logs', 'echo line >log');
  const name = at.name('app');
  const mounts = ['-v', `${at.name('data')}:/data`, '-v', `${at.name('logs')}:/logs`];
  await at.docker('run', '-d', '--network', 'none', '--name', name, ...mounts, 'toolbox', 'sleep', '600');
  return name;
}

const printed = (result: { json: { event: string; stream?: string; text?: string }[] }) =>
  result.json.filter((e) => e.event === 'log' && e.stream === 'stdout').map((e) => e.text);

describe('recipes that need no database', () => {
  it('rsync: a mirror of the volumes in a directory of the host, which follows them', async () => {
    const at = await site();
    const name = await app(at);
    await at.volume('tree', SMALL_TREE);
    await at.docker('rm', '-f', name);
    const mounts = ['-v', `${at.name('tree')}:/srv/tree`, '-v', `${at.name('logs')}:/logs`];
    await at.docker('run', '-d', '--network', 'none', '--name', name, ...mounts, 'toolbox', 'sleep', '600');
    const target = await tempDir();
    const mirror = () =>
      at.run('handle', name, '--recipe', 'rsync', '--env', `TARGET=${target}`, '--', 'rsync');
    expect((await at.run('handle', name, '--recipe', 'rsync', '--', 'rsync')).exit).toBe(2);
    expect((await mirror()).exit).toBe(0);
    expect(await treeDifferences(await mountpoint(at.host, at.name('tree')), `${target}/srv/tree`)).toBe('');
    await at.inside(at.name('logs'), 'rm log; echo new >other');
    expect((await mirror()).exit).toBe(0);
    expect(await bash(`ls '${target}/logs'`)).toBe('other');
    expect(await at.docker('inspect', '-f', '{{.State.Status}}', name)).toBe('running');
  });

  it('checksums: the same lines each time, which sha256sum --check understands', async () => {
    const at = await site();
    const name = await app(at);
    const first = await at.run('handle', name, '--recipe', 'checksums');
    expect(first.exit).toBe(0);
    const lines = printed(first);
    expect(lines.map((line) => line?.slice(66))).toEqual(['/data/a b', '/data/sub/c', '/logs/log']);
    expect(printed(await at.run('handle', name, '--recipe', 'checksums'))).toEqual(lines);
    const here = lines
      .join('\n')
      .replaceAll('/data/', `${await mountpoint(at.host, at.name('data'))}/`)
      .replaceAll('/logs/', `${await mountpoint(at.host, at.name('logs'))}/`);
    expect(await bash(`sha256sum --check --quiet <<'E'\n${here}\nE`)).toBe('');
  });

  it('file-count: says how many, and fails where there are too few', async () => {
    const at = await site();
    const name = await app(at);
    const result = await at.run('handle', name, '--recipe', 'file-count');
    expect(printed(result)).toEqual(['2 /data', '1 /logs']);
    const few = await at.run('handle', name, '--recipe', 'file-count', '--env', 'AT_LEAST=2');
    expect(few.exit).toBe(50);
    expect(failure(few).message).toContain('/logs holds 1 files, not 2');
  });

  it('http: a web server that answers from its restored volume passes; another text does not', async () => {
    const at = await site();
    const image = await derivedImage(at, 'web', {}, ['CMD ["httpd", "-f", "-p", "8080", "-h", "/www"]']);
    const volume = await at.volume('www', 'echo "shop is open" >health');
    const name = await at.container('web', '-v', `${volume}:/www`, image);
    await at.ok('backup', name);
    const drill = ['drill', name, '--recipe', 'http', '--env', 'PORT=8080', '--env', 'URL_PATH=/health'];
    const passed = await at.ok(...drill, '--env', 'EXPECT=is open');
    expect(passed.checks.at(-1)).toMatchObject({
      name: 'check',
      passed: true,
      detail: 'answered with 12 characters',
    });
    const other = await at.run(...drill, '--env', 'EXPECT=closed');
    expect(other.exit).toBe(41);
    expect(other.json.at(-1).checks.at(-1).detail).toContain("no 'closed' in the answer");
  });

  it('recipes lists them all, and shows each as it is', async () => {
    const at = await site();
    const list = await at.document('recipes');
    expect(list.map((r: { name: string }) => r.name)).toContain('postgres');
    expect(await at.document('recipes', 'http')).toMatchObject({ name: 'http', drill: { timeout: 120_000 } });
  });
});
