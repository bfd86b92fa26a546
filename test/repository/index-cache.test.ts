import { createHash } from 'node:crypto';
import { readdir, readFile, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { IndexCache } from '../../src/repository/index-cache.ts';
import { tempDir } from '../support/temp.ts';

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

async function cacheIn(directory: string): Promise<IndexCache> {
  const cache = new IndexCache(directory, 'repository-id');
  await cache.open();
  return cache;
}

describe('the cache of indexes', () => {
  const raw = Buffer.from('{"path":"./a"}\n'.repeat(1000));

  it('gives back the frames that it kept, also to the next run', async () => {
    const directory = await tempDir();
    const cache = await cacheIn(directory);
    expect(cache.has(sha256(raw))).toBe(false);
    await cache.keepFrame(sha256(raw), raw);
    for (const each of [cache, await cacheIn(directory)]) {
      expect(each.has(sha256(raw))).toBe(true);
      expect((await each.frame(sha256(raw)))?.equals(raw)).toBe(true);
    }
  });

  it('is a miss where a frame is damaged, cut off or another one', async () => {
    const directory = await tempDir();
    const frames = join(directory, 'indexes/repository-id/frames');
    await (await cacheIn(directory)).keepFrame(sha256(raw), raw);
    const stored = await readFile(join(frames, sha256(raw)));
    const other = sha256(Buffer.from('other'));
    await writeFile(join(frames, other), stored);
    const cache = await cacheIn(directory);
    expect(await cache.frame(other)).toBeUndefined();
    expect(cache.has(other)).toBe(false);
    await writeFile(join(frames, sha256(raw)), stored.subarray(0, 20));
    expect(await cache.frame(sha256(raw))).toBeUndefined();
  });

  it('is none where it cannot be written, and nothing fails', async () => {
    const file = join(await tempDir(), 'file');
    await writeFile(file, '');
    const cache = await cacheIn(file);
    await cache.keepFrame(sha256(raw), raw);
    await cache.tidy(new Date());
    expect(await cache.frame(sha256(raw))).toBeUndefined();
  });

  it('forgets after a day what no newest snapshot needs', async () => {
    const directory = await tempDir();
    const cache = await cacheIn(directory);
    const fresh = Buffer.from('fresh');
    await cache.keepFrame(sha256(raw), raw);
    await cache.keepFrame(sha256(fresh), fresh);
    const frames = join(directory, 'indexes/repository-id/frames');
    const yesterday = new Date(Date.now() - 25 * 3600_000);
    await utimes(join(frames, sha256(raw)), yesterday, yesterday);
    await cache.tidy(new Date());
    expect(await readdir(frames)).toEqual([sha256(fresh)]);
  });
});
