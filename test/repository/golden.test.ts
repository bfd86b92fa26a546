import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { PinnedAccess } from '../../src/jobs/open/access.ts';
import { VerifyJob } from '../../src/jobs/verify/verify.ts';
import type { Secrets } from '../../src/repository/key-slots.ts';
import { PinFile } from '../../src/repository/pins.ts';
import { Repository } from '../../src/repository/repository.ts';
import { LocalStore } from '../../src/store/local.ts';
import {
  goldenEncrypted,
  goldenIdentityFile,
  goldenPassphrase,
  goldenRepository,
  goldenSnapshots,
} from '../support/golden.ts';
import { tempDir } from '../support/temp.ts';

const recipes = path.resolve(import.meta.dirname, '../../recipes');
const identity = readFileSync(goldenIdentityFile, 'utf8').match(/AGE-SECRET-KEY-\S+/)?.[0] as string;

async function open(place: string, secrets: Secrets = { identities: [identity] }): Promise<Repository> {
  const stateDirectory = await tempDir();
  const access = new PinnedAccess({
    need: 'read',
    pin: new PinFile(stateDirectory, place),
    stateDirectory,
    secrets: async () => secrets,
    namesKey: async () => undefined,
    trust: false,
    emit: () => {},
  });
  return Repository.open(new LocalStore(place), access);
}

describe.each([
  ['format 1', goldenRepository, []],
  ['format 1, encrypted', goldenEncrypted, ['--identity', goldenIdentityFile]],
])('the golden repository of %s', (_, place, options) => {
  it('verifies: every hash, frame, index and digest is as it was written', async () => {
    const repository = await open(place);
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
    const repository = await open(place);
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
    expect(found).toEqual(goldenSnapshots(place));
  });

  it('is restored by plain tools alone, identical by the independent digest', async () => {
    for (const { id, volumes } of goldenSnapshots(place)) {
      for (const { name, digest } of volumes) {
        const target = `${await tempDir()}/restored`;
        execFileSync(path.join(recipes, 'restore-without-volbak.sh'), [...options, place, id, name, target], {
          stdio: 'pipe',
        });
        expect(execFileSync(path.join(recipes, 'digest.sh'), [target], { encoding: 'utf8' }).trim()).toBe(
          digest,
        );
      }
    }
  });
});

describe('the golden repository of format 1, encrypted', () => {
  it('opens with the passphrase, too', async () => {
    const repository = await open(goldenEncrypted, { identities: [], passphrase: goldenPassphrase });
    const [name] = await repository.snapshotNames();
    expect((await repository.manifest(name!)).signature).toBeDefined();
  });

  it('is opened by age with the passphrase typed, as the recovery kit says', async () => {
    const file = `${await tempDir()}/repository.key`;
    // age asks for passphrases on a terminal alone.
    const command = `age -d -o '${file}' '${goldenEncrypted}/keys/passphrase-1.age'`;
    const child = spawn('script', ['-qec', command, '/dev/null'], { stdio: ['pipe', 'pipe', 'inherit'] });
    child.stdout.on('data', (text) => {
      if (String(text).includes('passphrase')) child.stdin.write(`${goldenPassphrase}\n`);
    });
    const [exit] = await once(child, 'exit');
    child.stdin.destroy();
    expect(exit).toBe(0);
    expect(readFileSync(file, 'utf8')).toMatch(/^AGE-SECRET-KEY-1/m);
  });

  it('is not restored by the recipe without an identity or with a wrong one, and nothing is left', async () => {
    const [{ id, volumes }] = goldenSnapshots(goldenEncrypted) as [ReturnType<typeof goldenSnapshots>[0]];
    const target = `${await tempDir()}/restored`;
    const wrong = `${await tempDir()}/wrong`;
    execFileSync('age-keygen', ['-o', wrong], { stdio: 'pipe' });
    for (const options of [[], ['--identity', wrong]]) {
      const args = [...options, goldenEncrypted, id, volumes[0]?.name ?? '', target];
      expect(() =>
        execFileSync(path.join(recipes, 'restore-without-volbak.sh'), args, { stdio: 'pipe' }),
      ).toThrow(/identity/);
      expect(() => readFileSync(target)).toThrow('ENOENT');
    }
  });
});
