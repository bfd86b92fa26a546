import { execFileSync } from 'node:child_process';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { VerifyJob } from '../../src/jobs/verify/verify.ts';
import { Repository } from '../../src/repository/repository.ts';
import { LocalStore } from '../../src/store/local.ts';
import { goldenRepository, goldenSnapshots } from '../support/golden.ts';
import { tempDir } from '../support/temp.ts';

const recipes = path.resolve(import.meta.dirname, '../../recipes');

describe('the golden repository of format 1', () => {
  it('verifies: every hash, frame, index and digest is as it was written', async () => {
    const repository = await Repository.open(new LocalStore(goldenRepository));
    const names = await repository.snapshotNames();
    const env = {
      emit: () => {},
      clock: { now: () => new Date() },
      signal: new AbortController().signal,
      stateDirectory: '/nonexistent',
      cacheDirectory: '/nonexistent',
      version: 'test',
    };
    const result = await new VerifyJob(env, repository, { quick: false }).run(names);
    expect(result.errors).toEqual([]);
    expect(result.snapshots).toBe(2);
    expect(result.segments).toBe(6);
  });

  it('holds what was noted when it was made', async () => {
    const repository = await Repository.open(new LocalStore(goldenRepository));
    const found = [];
    for (const name of await repository.snapshotNames()) {
      const { id, source, status, volumes } = await repository.manifest(name);
      found.push({
        id,
        source: `${source.host}/${source.kind}/${source.name}`,
        status,
        volumes: volumes.map(({ name, entries, tarBytes, digest }) => ({ name, entries, tarBytes, digest })),
      });
    }
    expect(found).toEqual(goldenSnapshots());
  });

  it('is restored by plain tools alone, identical by the independent digest', async () => {
    for (const { id, volumes } of goldenSnapshots()) {
      for (const { name, digest } of volumes) {
        const target = `${await tempDir()}/restored`;
        execFileSync(path.join(recipes, 'restore-without-volbak.sh'), [goldenRepository, id, name, target], {
          stdio: 'pipe',
        });
        expect(execFileSync(path.join(recipes, 'digest.sh'), [target], { encoding: 'utf8' }).trim()).toBe(
          digest,
        );
      }
    }
  });
});
