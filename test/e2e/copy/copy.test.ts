import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, inject, it } from 'vitest';
import { mountpoint } from '../../support/engine.ts';
import { makeBucket, s3Environment, s3Url, uniqueBucket } from '../../support/s3.ts';
import { sftpUrl } from '../../support/sftp.ts';
import { bash, failure, type Site, site } from '../../support/site.ts';
import { tempDir } from '../../support/temp.ts';
import { hardTree, treeDifferences } from '../../support/trees.ts';
import { finished, type Json } from '../../support/volbak.ts';

/** A site whose calls find the keys of the test's S3 server. */
async function source(): Promise<Site> {
  return site({ env: s3Environment(inject('stores')) });
}

async function s3Place(): Promise<string> {
  const bucket = uniqueBucket();
  await makeBucket(inject('stores'), bucket);
  return s3Url(inject('stores'), bucket, 'copied');
}

const sftpPlace = async () => sftpUrl(inject('stores'), `${await tempDir()}/copied`);
const idsIn = async (at: Site, repo: string) =>
  (await at.document('--repo', repo, 'snapshots')).map(({ id }: Json) => id).sort();
const digests = ({ volumes }: Json) => volumes.map((v: Json) => [v.name, v.digest]);

describe('copy', () => {
  it('local -> S3 -> SFTP -> local: verifies and restores identical at each place, same id and digest', async () => {
    const at = await source();
    const volume = await at.volume('hard');
    const reference = await tempDir();
    await hardTree(await mountpoint(at.host, volume));
    await hardTree(reference);
    const [first] = (await at.ok('backup', '--volume', volume)).snapshots;
    const shown = await at.document('show', first.id);
    const places = [at.repo, await s3Place(), await sftpPlace(), `${await tempDir()}/back`];
    for (const [i, to] of places.slice(1).entries()) {
      const from = places[i] as string;
      const { snapshots } = await at.ok('--repo', from, 'copy', first.id, '--to', to);
      expect(snapshots).toMatchObject([{ id: first.id, copied: true }]);
      expect((await at.ok('--repo', to, 'verify')).errors).toEqual([]);
      const there = await at.document('--repo', to, 'show', first.id);
      expect(digests(there)).toEqual(digests(shown));
      const restored = at.name(`restored${i}`);
      await at.ok('--repo', to, 'restore', first.id, '--to-volume', restored, '--verify');
      expect(await treeDifferences(reference, await mountpoint(at.host, restored))).toBe('');
    }
    // There already: nothing is copied.
    const again = await at.ok('copy', first.id, '--to', places[3] as string);
    expect(again.snapshots).toEqual([
      expect.objectContaining({ id: first.id, copied: false, storedBytes: 0 }),
    ]);
  });

  it('--all mirrors, and stores of each next snapshot only what is new', async () => {
    const at = await source();
    const volume = await at.volume('data', 'head -c 3000000 /dev/urandom >random; seq 1000 >numbers');
    const ids: string[] = [];
    for (let i = 0; i < 3; i++) {
      await at.inside(volume, `echo ${i} >file${i}`);
      ids.push((await at.ok('backup', '--volume', volume)).snapshots[0].id);
    }
    const to = await s3Place();
    const { snapshots } = await at.ok('copy', '--all', '--to', to);
    expect(snapshots.map((s: Json) => s.copied)).toEqual([true, true, true]);
    expect(snapshots[0].storedBytes).toBeGreaterThan(3_000_000);
    expect(snapshots[1].storedBytes).toBeLessThan(100_000);
    expect(await idsIn(at, to)).toEqual([...ids].sort());
    await at.inside(volume, 'echo more >more');
    ids.push((await at.ok('backup', '--volume', volume)).snapshots[0].id);
    const more = await at.ok('copy', '--all', '--to', to);
    expect(more.snapshots.map((s: Json) => s.copied)).toEqual([false, false, false, true]);
    expect((await at.ok('--repo', to, 'verify')).snapshots).toBe(4);
    // Backups into the copy go on from it.
    const next = (await at.ok('--repo', to, 'backup', '--volume', volume)).snapshots[0];
    expect(next.volumes[0].newBytes).toBe(0);
  });

  it('killed in the middle and run again goes on: less is stored than by a whole copy', async () => {
    const at = await source();
    const volume = await at.volume('big', 'for i in 1 2 3 4 5; do head -c 32000000 /dev/urandom >$i; done');
    const { id } = (await at.ok('backup', '--volume', volume)).snapshots[0];
    const place = `${await tempDir()}/copied`;
    const to = sftpUrl(inject('stores'), place);
    const child = await at.start('--limit-upload', '16M', '--parallel', '1', 'copy', id, '--to', to);
    child.stdin.end();
    const end = finished(child);
    await bash(
      `until [ "$(find '${place}/segments' -name '*.zst' 2>/dev/null | wc -l)" -ge 2 ]; do sleep 0.05; done`,
    );
    // The note of what is durable follows the object by a moment.
    await new Promise((resolve) => setTimeout(resolve, 2500));
    child.kill('SIGKILL');
    await end;
    expect(await idsIn(at, to)).toEqual([]);
    const { snapshots } = await at.ok('copy', id, '--to', to);
    expect(snapshots[0]).toMatchObject({ id, copied: true });
    expect(snapshots[0].storedBytes).toBeLessThan(135_000_000);
    expect((await at.ok('--repo', to, 'verify')).errors).toEqual([]);
    await at.ok('--repo', to, 'restore', id, '--to-volume', at.name('back'), '--verify');
  });

  it('of a damaged snapshot is exit 40, and the target has no snapshot of it', async () => {
    const at = await source();
    const volume = await at.volume('data', 'head -c 3000000 /dev/urandom >random');
    const { id } = (await at.ok('backup', '--volume', volume)).snapshots[0];
    const [segment] = (await bash(`find '${at.repo}/segments' -name '*.zst' -size +1M`)).split('\n');
    const file = path.resolve(segment as string);
    const bytes = await readFile(file);
    bytes[1_500_000] = (bytes[1_500_000] as number) ^ 4;
    await bash(`chmod u+w '${file}'`);
    await writeFile(file, bytes);
    const to = await sftpPlace();
    const result = await at.run('copy', id, '--to', to);
    expect(result.exit).toBe(40);
    expect(failure(result).code).toBe('INTEGRITY');
    expect(await idsIn(at, to)).toEqual([]);
    expect((await at.run('copy', id, '--to', at.repo)).exit).toBe(2);
  });
});
