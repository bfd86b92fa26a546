import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import { mountpoint } from '../../support/engine.ts';
import { site } from '../../support/site.ts';
import { chance } from '../store-faults/laboratory.ts';
import { Mutator } from './mutator.ts';

const run = promisify(execFile);
const SEED = Number(process.env.VOLBAK_TEST_SEED ?? 20261121);
const ROUNDS = process.env.VOLBAK_SOAK ? 300 : 24;

/** Digest of a directory by tools that are not volbak's. */
async function independentDigest(directory: string): Promise<string> {
  const { stdout } = await run('bash', ['recipes/digest.sh', directory]);
  return stdout.trim();
}

it(`after any changes an incremental snapshot equals the volume, a full one and recipes/digest.sh (seed ${SEED})`, async () => {
  const at = await site();
  const volume = await at.volume('v');
  const directory = await mountpoint(at.host, volume);
  const mutator = new Mutator(directory, chance(SEED));
  for (let n = 0; n < 120; n++) mutator.step();
  let [read, total] = [0, 0];
  // Times that can be trusted: the first listing of the two is told by its hash, and so is what comes after it.
  const recognise = async (of: string, digest: string) => {
    await new Promise((resolve) => setTimeout(resolve, 2200));
    for (let n = 0; n < 2; n++) {
      const [snapshot] = (await at.ok('backup', '--volume', of)).snapshots;
      expect(snapshot.volumes[0].digest).toBe(digest);
    }
  };
  for (let round = 0; round < ROUNDS; round++) {
    for (let n = 1 + (round % 7); n > 0; n--) mutator.step();
    const where = `round ${round}, seed ${SEED}: ${mutator.log.slice(-8).join('; ')}`;
    const [incremental] = (await at.ok('backup', '--volume', volume)).snapshots;
    const [held] = incremental.volumes;
    expect(held.digest, where).toBe(await independentDigest(directory));
    read += held.readBytes;
    total += held.tarBytes;
    if (round % 6 === 5) await recognise(volume, held.digest);
    if (round % 4 !== 0) continue;
    const [full] = (await at.ok('backup', '--volume', volume, '--full')).snapshots;
    expect(full.volumes[0], where).toMatchObject({
      digest: held.digest,
      tarBytes: held.tarBytes,
      readBytes: held.tarBytes,
    });
    const target = at.name(`r${round}`);
    await at.ok('restore', incremental.id, '--to-volume', target);
    expect(await independentDigest(await mountpoint(at.host, target)), where).toBe(held.digest);
    await at.docker('volume', 'rm', target);
  }
  expect((await at.ok('verify')).errors).toEqual([]);
  // Something was left unread, or this shows nothing.
  expect(read).toBeLessThan(total);
}, 1_800_000);
