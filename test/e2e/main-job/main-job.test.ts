import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { mainJob, restoreWithoutVolbak } from '../../support/main-job.ts';
import { site } from '../../support/site.ts';
import { tempDir } from '../../support/temp.ts';
import { treeDifferences } from '../../support/trees.ts';

describe('the main job: a container with two volumes, one the hard tree, backed up, deleted, restored', () => {
  it.each(['pipe', 'attach'] as const)(
    'lane %s: both come back identical, and a second restore is refused',
    async (lane) => {
      const repo = path.join(await tempDir('volbak-repo-'), 'repo');
      // What is in the repository is the same for both lanes: what needs no volbak is tried once.
      const digestRecipe = lane === 'pipe';
      const { id, hard, plain, reference } = await mainJob(repo, { lane, digestRecipe });
      if (!digestRecipe) return;
      expect(await treeDifferences(reference.hard, await restoreWithoutVolbak(repo, id, hard))).toBe('');
      expect(await treeDifferences(reference.plain, await restoreWithoutVolbak(repo, id, plain))).toBe('');
    },
  );
});

describe('driver, options and labels come back', () => {
  it('labels of Compose and options of the local driver are as they were, so that Compose accepts the volume', async () => {
    const at = await site();
    const labels = {
      'com.docker.compose.project': 'shop',
      'com.docker.compose.volume': 'db',
      'com.docker.compose.version': '1.29.2',
      own: 'a b=c',
    };
    const args = Object.entries(labels).flatMap(([key, value]) => ['--label', `${key}=${value}`]);
    const options = ['-o', 'type=tmpfs', '-o', 'device=tmpfs', '-o', 'o=size=16m,uid=70'];
    const volume = await at.volume('db', '', ...args, '--driver', 'local', ...options);
    await at.docker(
      'run',
      '-d',
      '--network',
      'none',
      '--name',
      at.name('app'),
      '-v',
      `${volume}:/db`,
      'toolbox',
      'sh',
      '-c',
      'echo content >/db/file; exec sleep 600',
    );
    await expect.poll(() => at.docker('exec', at.name('app'), 'cat', '/db/file')).toBe('content');
    const made = JSON.parse(await at.docker('volume', 'inspect', volume))[0];
    const { snapshots } = await at.ok('backup', at.name('app'));
    expect(snapshots[0].volumes[0].entries).toBe(2);
    await at.docker('rm', '-f', at.name('app'));
    await at.docker('volume', 'rm', volume);
    await at.ok('restore', at.name('app'));
    const restored = JSON.parse(await at.docker('volume', 'inspect', volume))[0];
    expect(restored).toMatchObject({ Driver: 'local', Options: made.Options, Labels: labels });
  });
});
