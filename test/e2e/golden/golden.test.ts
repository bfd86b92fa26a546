import { execFileSync } from 'node:child_process';
import { cp } from 'node:fs/promises';
import path from 'node:path';
import { expect, it } from 'vitest';
import { cleanupEngine, engines, mountpoint } from '../../support/engine.ts';
import {
  goldenEncrypted,
  goldenIdentityFile,
  goldenRepository,
  goldenSnapshots,
} from '../../support/golden.ts';
import { afterwards, tempDir, uniqueName } from '../../support/temp.ts';
import { volbakOk } from '../../support/volbak.ts';

const digestScript = path.resolve(import.meta.dirname, '../../../recipes/digest.sh');

it.each([
  ['format 1', goldenRepository],
  ['format 1, encrypted,', goldenEncrypted],
])(
  'the golden repository of %s is restored into volumes with the digests noted when it was made',
  async (_, golden) => {
    const { a } = engines();
    const env = { VOLBAK_IDENTITY_FILE: goldenIdentityFile };
    // A restore puts a session into the repository: never into the fixture itself.
    const repository = `${await tempDir()}/golden`;
    await cp(golden, repository, { recursive: true });
    for (const { id, volumes } of goldenSnapshots(golden)) {
      for (const { name, digest } of volumes) {
        const target = uniqueName('golden');
        afterwards(() => cleanupEngine(a, target));
        await volbakOk(
          ['-H', a, '--repo', repository, 'restore', id, '--volume', name, '--to-volume', target, '--verify'],
          { env },
        );
        const found = execFileSync(digestScript, [await mountpoint(a, target)], { encoding: 'utf8' }).trim();
        expect(found).toBe(digest);
      }
    }
  },
);
