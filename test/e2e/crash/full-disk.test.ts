import { execFile } from 'node:child_process';
import path from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, test } from 'vitest';
import { filesBelow, manifests } from '../../support/scene.ts';
import { type Site, site } from '../../support/site.ts';
import { rounds } from '../../support/soak.ts';
import { afterwards, tempDir } from '../../support/temp.ts';
import { volbak, volbakOk } from '../../support/volbak.ts';

const run = promisify(execFile);

/** A file system in memory of its own. */
async function tmpfs(): Promise<string> {
  const directory = await tempDir();
  await run('mount', ['-t', 'tmpfs', '-o', 'size=100m', 'tmpfs', directory]);
  afterwards(() => run('umount', [directory]));
  return directory;
}

/** Kilobytes of the file system that are in use. */
async function used(directory: string): Promise<number> {
  const { stdout } = await run('df', ['--output=used', '-k', directory]);
  return Number(stdout.split('\n')[1]);
}

const resize = (directory: string, kilobytes: number) =>
  run('mount', ['-o', `remount,size=${kilobytes}k`, directory]);

interface Filling {
  /** What is run against the repository in the small place. */
  args: string[];
  at: Site;
  repo: string;
  place: string;
  /** Snapshots that stand before. */
  before: number;
}

/** Runs with less room than it takes, from none to all but the last few kilobytes; then with enough. */
async function fillUp(
  { args, at, repo, place, before }: Filling,
  points: number,
  check: string[],
): Promise<void> {
  const options = { env: at.env };
  const start = await used(place);
  await resize(place, 100_000);
  const copy = await tempDir();
  await run('cp', ['-a', repo, `${copy}/repo`]);
  await volbakOk(args, options);
  const needed = (await used(place)) - start;
  expect(needed).toBeGreaterThan(100);
  for (let point = 0; point < points; point++) {
    await run('bash', [
      '-c',
      `chmod -R u+w ${repo}; rm -rf ${repo}; cp -a ${copy}/repo ${repo}; rm -rf ${at.env?.XDG_CACHE_HOME}/volbak`,
    ]);
    const room = Math.floor((point / points) * needed);
    const what = `${room} of ${needed} kB free`;
    await resize(place, (await used(place)) + room);
    const full = await volbak(args, options);
    expect(full.exit, `${what}: ${full.stdout}${full.stderr}`).toBe(32);
    expect(await manifests(repo), what).toHaveLength(before);
    expect(
      (await filesBelow(repo)).filter((file) => file.includes('.tmp-')),
      what,
    ).toEqual([]);
    if (before > 0) await volbakOk(check, options);
    await resize(place, 100_000);
    await volbakOk(args, options);
    expect(await manifests(repo), what).toHaveLength(before + 1);
    await volbakOk(check, options);
  }
}

describe('a disk that is full at any write: exit 32, earlier snapshots whole, and it works again after room is made', () => {
  const CONTENT = 'for n in $(seq 300); do echo $n >$n; done; head -c 5000000 /dev/urandom >big';

  test('backup', { timeout: 3_600_000 }, async () => {
    const place = await tmpfs();
    const repo = path.join(place, 'repo');
    const at = await site({ repo, env: { XDG_CACHE_HOME: await tempDir() } });
    const small = await at.volume('small', 'echo small >file');
    const big = await at.volume('big', CONTENT);
    await at.ok('backup', '--volume', small);
    const args = [...at.globals, 'backup', '--volume', big];
    await fillUp({ args, at, repo, place, before: 1 }, rounds(5, 60), [...at.globals, 'verify']);
  });

  test('copy', { timeout: 3_600_000 }, async () => {
    const place = await tmpfs();
    const repo = path.join(place, 'copy');
    const at = await site({ env: { XDG_CACHE_HOME: await tempDir() } });
    const [first, second] = [
      await at.volume('first', 'echo small >file'),
      await at.volume('second', CONTENT),
    ];
    for (const volume of [first, second]) await at.ok('backup', '--volume', volume);
    await at.ok('copy', first, '--to', repo);
    const args = [...at.globals, 'copy', second, '--to', repo];
    const check = ['-H', at.host, '--repo', repo, '--json', 'verify'];
    await fillUp({ args, at, repo, place, before: 1 }, rounds(4, 60), check);
  });
});
