import path from 'node:path';
import { expect } from 'vitest';
import { dockerOk, mountpoint } from './engine.ts';
import { bash, failure, fingerprint, type Site, type SiteOptions, site } from './site.ts';
import { tempDir } from './temp.ts';
import { hardTree, treeDifferences } from './trees.ts';
import { type Json, projectRoot } from './volbak.ts';

export interface MainJobOptions extends Omit<SiteOptions, 'repo'> {
  lane?: 'pipe' | 'attach';
  /** Also compare the digests with recipes/digest.sh, which takes half a minute for the hard tree. */
  digestRecipe?: boolean;
}

export interface MainJobResult {
  site: Site;
  /** Id of the snapshot that was restored. */
  id: string;
  /** The volume that holds the hard tree, restored. */
  hard: string;
  plain: string;
  /** Directories with the same content as the volumes. */
  reference: { hard: string; plain: string };
  /** The last backup's summary. */
  summary: Json;
}

const PLAIN = `
  mkdir -p docs/sub; seq 1 50000 >docs/numbers; echo one >docs/sub/file; ln docs/sub/file docs/link
  head -c 3000000 /dev/urandom | cat >random; chown -R 70:70 docs; touch -d @1600000000.5 docs/sub .`;

/**
 * What issue 2 is done with, for any repository: a container with two volumes, one of them the hard tree, is backed
 * up; container and volumes are deleted; a restore brings both back identical; a second one is refused.
 */
export async function mainJob(repoUrl: string, options: MainJobOptions = {}): Promise<MainJobResult> {
  const { lane, digestRecipe, ...rest } = options;
  const at = await site({ ...rest, repo: repoUrl, globals: lane ? ['--lane', lane] : [] });
  const container = at.name('app');
  const hard = await at.volume('hard', '', '--label', 'com.docker.compose.project=shop');
  const plain = await at.volume('plain', PLAIN);
  const reference = { hard: await tempDir(), plain: path.join(await tempDir(), 'plain') };
  await hardTree(await mountpoint(at.host, hard));
  await hardTree(reference.hard);
  await bash(`cp -a . "${reference.plain}"`, { cwd: await mountpoint(at.host, plain) });
  await at.docker(
    'run',
    '-d',
    '--network',
    'none',
    '--name',
    container,
    '-v',
    `${hard}:/data/hard`,
    '-v',
    `${plain}:/srv/plain`,
    'toolbox',
    'sleep',
    '600',
  );

  const first = (await at.ok('backup', container)).snapshots[0];
  expect(first.status).toBe('complete');
  expect(first.volumes.map((v: Json) => [v.name, v.destination]).sort()).toEqual([
    [hard, '/data/hard'],
    [plain, '/srv/plain'],
  ]);

  // The unchanged stores nothing; a small change little.
  const second = (await at.ok('backup', container)).snapshots[0];
  expect(second.id).not.toBe(first.id);
  expect(second.volumes.map((v: Json) => [v.name, v.newBytes])).toEqual(
    first.volumes.map((v: Json) => [v.name, 0]),
  );
  expect(digests(second)).toEqual(digests(first));
  for (const dir of [await mountpoint(at.host, plain), reference.plain]) {
    await bash(`echo changed >docs/sub/file; touch -d @1700000000 docs/sub/file`, { cwd: dir });
  }
  const summary = await at.ok('backup', container);
  const third = summary.snapshots[0];
  expect(digests(third)[hard]).toBe(digests(first)[hard]);
  expect(digests(third)[plain]).not.toBe(digests(first)[plain]);
  const news = Object.fromEntries(third.volumes.map((v: Json) => [v.name, v.newBytes]));
  expect(news[hard]).toBe(0);
  expect(news[plain]).toBeGreaterThan(0);
  expect(news[plain]).toBeLessThan(100_000);

  await at.docker('rm', '-f', '-v', container);
  await at.docker('volume', 'rm', hard, plain);
  const restored = await at.ok('restore', container);
  expect(restored.volumes.map((v: Json) => v.name).sort()).toEqual([hard, plain]);
  const places = { hard: await mountpoint(at.host, hard), plain: await mountpoint(at.host, plain) };
  expect(await treeDifferences(reference.hard, places.hard)).toBe('');
  expect(await treeDifferences(reference.plain, places.plain)).toBe('');
  expect(
    await at.docker('volume', 'inspect', '-f', '{{index .Labels "com.docker.compose.project"}}', hard),
  ).toBe('shop');
  // A container on them must not change them: what follows is compared again.
  expect(await dockerOk(at.host, 'container', 'inspect', container)).toBe(false);
  if (digestRecipe) {
    for (const [volume, place] of [
      [hard, places.hard],
      [plain, places.plain],
    ] as const) {
      expect(await bash(`${path.join(projectRoot, 'recipes/digest.sh')} "${place}"`)).toBe(
        digests(third)[volume],
      );
    }
  }

  const before = [await fingerprint(places.hard), await fingerprint(places.plain)];
  const refused = await at.run('restore', container);
  expect(refused.exit).toBe(24);
  expect(failure(refused)).toMatchObject({
    code: 'TARGET_NOT_EMPTY',
    exit: 24,
    hint: expect.stringContaining('--on-conflict'),
  });
  expect([await fingerprint(places.hard), await fingerprint(places.plain)]).toEqual(before);
  return { site: at, id: third.id, hard, plain, reference, summary };
}

/** Digest of each volume of a snapshot in a backup's summary. */
function digests(snapshot: Json): Record<string, string> {
  return Object.fromEntries(snapshot.volumes.map((v: Json) => [v.name, v.digest]));
}

/** Restores one volume with the recipe alone, without volbak, and answers with the directory. */
export async function restoreWithoutVolbak(repo: string, id: string, volume: string): Promise<string> {
  const dir = path.join(await tempDir(), 'restored');
  const recipe = path.join(projectRoot, 'recipes/restore-without-volbak.sh');
  await bash(`'${recipe}' '${repo}' '${id}' '${volume}' '${dir}'`);
  return dir;
}
