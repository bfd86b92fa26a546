import { execFileSync } from 'node:child_process';
import { cp } from 'node:fs/promises';
import path from 'node:path';
import { expect, it } from 'vitest';
import { cleanupEngine, engines, mountpoint } from '../../support/engine.ts';
import { goldenRepository, goldenSnapshots } from '../../support/golden.ts';
import { afterwards, tempDir, uniqueName } from '../../support/temp.ts';
import { volbakOk } from '../../support/volbak.ts';

const digestScript = path.resolve(import.meta.dirname, '../../../recipes/digest.sh');

it('the golden repository of format 1 is restored into volumes with the digests noted when it was made', async () => {
  const { a } = engines();
  // A restore puts a session into the repository: never into the fixture itself.
  const repository = `${await tempDir()}/golden-1`;
  await cp(goldenRepository, repository, { recursive: true });
  for (const { id, volumes } of goldenSnapshots()) {
    for (const { name, digest } of volumes) {
      const target = uniqueName('golden');
      afterwards(() => cleanupEngine(a, target));
      await volbakOk([
        '-H',
        a,
        '--repo',
        repository,
        'restore',
        id,
        '--volume',
        name,
        '--to-volume',
        target,
        '--verify',
      ]);
      const found = execFileSync(digestScript, [await mountpoint(a, target)], { encoding: 'utf8' }).trim();
      expect(found).toBe(digest);
    }
  }
});
