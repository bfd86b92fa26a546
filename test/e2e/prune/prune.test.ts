import { readdir, readFile, stat, utimes, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { filesBelow, manifests } from '../../support/scene.ts';
import { failure, haltedWhileReading, type Site, site, summary } from '../../support/site.ts';
import { tempDir } from '../../support/temp.ts';
import { type Json, privateHomes, volbak } from '../../support/volbak.ts';

const MINUTE = 60_000;

/** Bytes of a directory's files. */
async function sizeOf(directory: string): Promise<number> {
  const sizes = await Promise.all((await filesBelow(directory)).map(async (file) => (await stat(file)).size));
  return sizes.reduce((sum, size) => sum + size, 0);
}

/** A volume that was backed up three times; each time another megabyte was in it. */
async function three(): Promise<{ at: Site; volume: string; ids: string[] }> {
  const at = await site();
  const volume = await at.volume('data', 'echo stays >stays');
  const ids: string[] = [];
  for (let i = 0; i < 3; i++) {
    await at.inside(volume, 'head -c 1000000 /dev/urandom >random');
    ids.push((await at.ok('backup', '--volume', volume)).snapshots[0].id);
  }
  return { at, volume, ids };
}

describe('forget and prune', () => {
  it('take snapshots out, then free their space; what stays restores as before', async () => {
    const { at, volume, ids } = await three();
    const dry = await at.ok('forget', '--keep-last', '1', '--dry-run', '--timezone', 'Europe/Berlin');
    expect(dry).toMatchObject({ dryRun: true, forgotten: ids.slice(0, 2), kept: ids.slice(2) });
    expect(dry.sources[0].snapshots[2].reasons).toEqual(['last', 'last complete']);
    expect(await manifests(at.repo)).toHaveLength(3);

    expect(await at.ok('forget', '--keep-last', '1')).toMatchObject({ forgotten: ids.slice(0, 2) });
    expect((await at.document('snapshots')).map((s: Json) => s.id)).toEqual(ids.slice(2));
    const before = await sizeOf(at.repo);
    const waiting = await at.ok('prune');
    expect(waiting.deleted).toMatchObject({ segments: 0, snapshots: [] });
    expect(waiting.pending[0]).toMatchObject({ reason: 'grace' });
    expect(waiting.pending[0].bytes).toBeGreaterThan(2_000_000);
    expect((await at.ok('prune', '--grace', '0s', '--dry-run')).deleted.snapshots).toEqual(ids.slice(0, 2));
    expect(await sizeOf(at.repo)).toBe(before);

    const pruned = await at.ok('prune', '--grace', '0s', '--verify');
    expect(pruned.deleted.snapshots).toEqual(ids.slice(0, 2));
    expect(before - (await sizeOf(at.repo))).toBeGreaterThan(1_900_000);
    expect((await at.ok('verify')).errors).toEqual([]);
    await at.ok('restore', volume, '--to-volume', at.name('back'), '--verify');
    for (const left of ['condemned', 'doomed', 'sessions'])
      expect(await filesBelow(path.join(at.repo, left)).catch(() => [])).toEqual([]);
  });

  it('speak to people, too', async () => {
    const { at, ids } = await three();
    const text = async (...args: string[]) =>
      (await volbak(['-H', at.host, '--repo', at.repo, ...args])).stdout;
    const dry = await text('forget', '--keep-last', '2', '--dry-run');
    expect(dry).toMatch(new RegExp(`${ids[0]} +\\S+ +complete +forget`));
    expect(dry).toMatch(new RegExp(`${ids[2]} +\\S+ +complete +keep +last, last complete`));
    expect(dry).toContain('1 snapshot would be forgotten, 2 kept');
    await text('forget', '--keep-last', '2');
    expect(await text('prune')).toMatch(/pending: \d+ segments?, 1\.0 MB, in their grace until/);
    expect(await text('prune', '--grace', '0s')).toMatch(
      /deleted \d+ segments?, 1\.0 MB, of 1 forgotten snapshot/,
    );
  });

  it('without a rule, or with a wrong one: exit 2, and nothing is removed', async () => {
    const { at } = await three();
    for (const args of [[], ['--keep-last', '0'], ['--keep-last', '1', '--timezone', 'Mars/Base']]) {
      expect((await at.run('forget', ...args)).exit, args.join(' ')).toBe(2);
    }
    expect(failure(await at.run('forget')).hint).toContain('--keep-daily');
    expect((await at.run('forget', '--keep-last', '1', '--source', 'nothing')).exit).toBe(10);
    expect(await manifests(at.repo)).toHaveLength(3);
  });

  it('leave a source alone that shrank: exit 3', async () => {
    const { at, volume } = await three();
    await at.inside(volume, 'rm random');
    await at.ok('backup', '--volume', volume);
    const spared = await at.run('forget', '--keep-last', '1');
    expect(spared.exit).toBe(3);
    expect(summary(spared)).toMatchObject({ forgotten: [] });
    expect(spared.json.find((e) => e.event === 'warning').message).toContain('less than half');
    expect((await at.ok('forget', '--keep-last', '1', '--force')).forgotten).toHaveLength(3);
    expect((await at.run('prune', '--grace', '0s')).exit).toBe(0);
  });

  it('stop at a manifest that cannot be read: exit 40, nothing deleted', async () => {
    const { at } = await three();
    await at.ok('forget', '--keep-last', '1');
    const [file] = (await manifests(at.repo)) as [string];
    await writeFile(path.join(at.repo, 'snapshots', file), 'damaged');
    const before = await filesBelow(path.join(at.repo, 'segments'));
    const result = await at.run('prune', '--grace', '0s');
    expect(result.exit).toBe(40);
    expect(failure(result).hint).toContain('Nothing was deleted');
    expect(await filesBelow(path.join(at.repo, 'segments'))).toEqual(before);
  });
});

describe('prune beside a backup', () => {
  it('that was halted beyond its heartbeat and taken for dead: it ends in a clean error', async () => {
    const { at, volume, ids } = await three();
    await at.inside(volume, 'head -c 60000000 /dev/urandom >large');
    const result = await haltedWhileReading(at, 'large', ['backup', '--volume', volume], async () => {
      const sessions = await filesBelow(path.join(at.repo, 'sessions'));
      expect(sessions.length).toBeGreaterThan(0);
      const early = await at.ok('prune', '--grace', '0s');
      expect(early.sessions).toMatchObject([{ kind: 'backup' }]);
      // 40 minutes later by the store's clock …
      const then = new Date(Date.now() - 40 * MINUTE);
      for (const file of sessions) await utimes(file, then, then);
      expect((await at.ok('prune', '--grace', '0s')).sessions[0].deadIn).toBeGreaterThan(0);
      await watchedFor(11 * MINUTE);
      expect((await at.ok('prune', '--grace', '0s')).deleted.sessions).toHaveLength(1);
    });
    expect(result.exit).toBe(11);
    expect(failure(result).code).toBe('REPOSITORY_BUSY');
    expect((await at.document('snapshots')).map((s: Json) => s.id)).toEqual(ids);
    expect((await at.ok('verify')).errors).toEqual([]);
    expect((await at.ok('backup', '--volume', volume)).snapshots[0].status).toBe('complete');
    expect((await at.ok('verify')).errors).toEqual([]);
  });

  it('that is alive: what it uses and stores stays, also without a grace', async () => {
    const { at, volume } = await three();
    await at.inside(volume, 'head -c 60000000 /dev/urandom >large');
    const result = await haltedWhileReading(at, 'large', ['backup', '--volume', volume], async () => {
      await at.ok('forget', '--keep-last', '1');
      await at.ok('prune', '--grace', '0s');
      await at.ok('prune', '--grace', '0s');
    });
    expect(result.exit).toBe(0);
    expect((await at.ok('verify')).errors).toEqual([]);
    await at.ok('restore', volume, '--to-volume', at.name('back'), '--verify');
  });
});

/** … and as if this machine had watched for so long: what the prunes of this test noted is moved back. */
async function watchedFor(ms: number): Promise<void> {
  const directory = path.join((await privateHomes()).XDG_STATE_HOME ?? '', 'volbak/prune');
  for (const name of await readdir(directory)) {
    const memory = JSON.parse(await readFile(path.join(directory, name), 'utf8'));
    for (const watch of Object.values<Json>(memory.sessions)) watch.at -= ms;
    await writeFile(path.join(directory, name), JSON.stringify(memory));
  }
}

describe('verify --repair', () => {
  it('brings damaged segments back from a copy', async () => {
    const { at, volume } = await three();
    const copy = path.join(await tempDir(), 'copy');
    await at.ok('copy', '--all', '--to', copy);
    for (const file of await filesBelow(path.join(at.repo, 'segments'))) {
      const bytes = await readFile(file);
      bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 1;
      await writeFile(file, bytes);
    }
    expect((await at.run('verify')).exit).toBe(40);
    const repaired = await at.ok('verify', '--repair', copy);
    expect(repaired).toMatchObject({ errors: [], lost: [] });
    expect(repaired.repaired).toHaveLength(3);
    expect(repaired.found.length).toBeGreaterThan(0);
    expect((await at.ok('verify')).errors).toEqual([]);
    await at.ok('restore', volume, '--to-volume', at.name('back'), '--verify');
    expect((await at.run('verify', '--repair', at.repo)).exit).toBe(0);
  });

  it('says what the copy does not have: exit 40', async () => {
    const { at, ids } = await three();
    const copy = path.join(await tempDir(), 'copy');
    await at.ok('copy', ids[0] as string, '--to', copy);
    for (const file of await filesBelow(path.join(at.repo, 'segments'))) await writeFile(file, '');
    const result = await at.run('verify', '--repair', copy);
    expect(result.exit).toBe(40);
    expect(summary(result).repaired).toEqual([ids[0]]);
    expect(summary(result).lost.map((l: Json) => l.snapshot)).toEqual(ids.slice(1));
  });
});
