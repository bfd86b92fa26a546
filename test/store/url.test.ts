import { describe, expect, it } from 'vitest';
import { openStore } from '../../src/store/url.ts';

describe('openStore', () => {
  it.each([
    ['/var/backups', '/var/backups'],
    ['/with space/and:colon', '/with space/and:colon'],
    ['file:///var/back%20ups', '/var/back ups'],
    ['relative/dir', `${process.cwd()}/relative/dir`],
    ['./a:b', `${process.cwd()}/a:b`],
  ])('opens %s as the directory %s', async (location, label) => {
    expect((await openStore(location)).label).toBe(label);
  });

  it.each(['', 'ftp://host/dir', 'http://'])('refuses %j as a usage error', async (location) => {
    await expect(openStore(location)).rejects.toThrow(expect.objectContaining({ code: 'USAGE' }));
  });

  it('names no secret of a URL it refuses', async () => {
    for (const url of ['ftp://user:hunter2@host/dir', 'https://user:hunter2@ho st/']) {
      const error = await openStore(url).catch((e) => e);
      expect(`${error.message} ${error.hint}`).not.toContain('hunter2');
    }
  });
});
