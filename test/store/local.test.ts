import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { LocalStore } from '../../src/store/local.ts';
import { storeContract } from '../contract/store.ts';
import { afterwards, tempDir } from '../support/temp.ts';

storeContract('LocalStore', {
  make: async () => ({ store: new LocalStore(`${await tempDir()}/new/place`), cleanup: async () => {} }),
});

/** A small tmpfs; root ignores permissions, so only mounts can refuse it something. */
async function tmpfs(size: string): Promise<string> {
  if (process.getuid?.() !== 0) throw new Error('this test mounts a tmpfs and needs root');
  const dir = await tempDir();
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${size}`, 'volbak-test', dir]);
  afterwards(async () => execFileSync('umount', ['-l', dir]));
  return dir;
}

/** All files below a directory, temporary ones included. */
function filesIn(dir: string): string[] {
  return readdirSync(dir, { recursive: true, withFileTypes: true })
    .filter((entry) => !entry.isDirectory())
    .map((entry) => entry.name)
    .sort();
}

const code = (wanted: string) => expect.objectContaining({ code: wanted });

describe('LocalStore: files', () => {
  it('are readable by their owner alone', async () => {
    const dir = `${await tempDir()}/repo`;
    await new LocalStore(dir).put('segments/aa/x', Buffer.from('secret'));
    expect(statSync(`${dir}/segments/aa/x`).mode & 0o777).toBe(0o600);
    for (const d of [dir, `${dir}/segments`, `${dir}/segments/aa`])
      expect(statSync(d).mode & 0o777).toBe(0o700);
  });

  it('that are temporary are not listed', async () => {
    const dir = await tempDir();
    const store = new LocalStore(dir);
    await store.put('a/real', Buffer.from('x'));
    writeFileSync(`${dir}/a/.tmp-0123456789abcdef`, 'of a run that was killed');
    writeFileSync(`${dir}/.tmp-0123456789abcdef`, 'another one');
    for (const prefix of ['', 'a/']) {
      const keys: string[] = [];
      for await (const { key } of store.list(prefix)) keys.push(key);
      expect(keys).toEqual(['a/real']);
    }
  });

  it('that are temporary are gone after a put, after STORE_EXISTS and after an abort', async () => {
    const dir = await tempDir();
    const store = new LocalStore(dir);
    await store.put('key', Buffer.from('x'), { ifAbsent: true });
    await expect(store.put('key', Buffer.from('y'), { ifAbsent: true })).rejects.toThrow(
      code('STORE_EXISTS'),
    );
    const controller = new AbortController();
    const put = store.put('aborted', Buffer.alloc(32 * 1024 * 1024), { signal: controller.signal });
    setImmediate(() => controller.abort());
    await expect(put).rejects.toThrow();
    expect(filesIn(dir)).toEqual(['key']);
  });

  it('pass a VolbakError through that a signal carries', async () => {
    const store = new LocalStore(await tempDir());
    const controller = new AbortController();
    const put = store.put('aborted', Buffer.alloc(32 * 1024 * 1024), { signal: controller.signal });
    const reason = new Error('the reason');
    setImmediate(() => controller.abort(reason));
    await expect(put).rejects.toBe(reason);
  });
});

describe('LocalStore: a full disk', () => {
  it('is STORE_FULL and leaves nothing of the object', async () => {
    const dir = await tmpfs('1m');
    const store = new LocalStore(dir);
    await store.put('small', Buffer.alloc(1000));
    await expect(store.put('large', Buffer.alloc(2 * 1024 * 1024))).rejects.toThrow(code('STORE_FULL'));
    await expect(store.put('deep/large', Buffer.alloc(2 * 1024 * 1024))).rejects.toThrow(code('STORE_FULL'));
    expect(filesIn(dir)).toEqual(['small']);
    expect((await store.get('small')).length).toBe(1000);
    await store.put('fits', Buffer.alloc(500_000));
    expect(filesIn(dir)).toEqual(['fits', 'small']);
  });

  it('keeps the object that a put would have replaced', async () => {
    const store = new LocalStore(await tmpfs('1m'));
    await store.put('key', Buffer.from('old'));
    await expect(store.put('key', Buffer.alloc(2 * 1024 * 1024))).rejects.toThrow(code('STORE_FULL'));
    expect((await store.get('key')).toString()).toBe('old');
  });
});

describe('LocalStore: a read-only place', () => {
  it('is STORE_DENIED to put and delete, and can be read', async () => {
    const dir = await tmpfs('1m');
    const store = new LocalStore(dir);
    await store.put('a/key', Buffer.from('x'));
    execFileSync('mount', ['-o', 'remount,ro', dir]);
    await expect(store.put('a/key', Buffer.from('y'))).rejects.toThrow(code('STORE_DENIED'));
    await expect(store.put('new/key', Buffer.from('y'))).rejects.toThrow(code('STORE_DENIED'));
    await expect(store.delete('a/key')).rejects.toThrow(code('STORE_DENIED'));
    expect((await store.get('a/key')).toString()).toBe('x');
    expect(filesIn(dir)).toEqual(['key']);
  });
});

describe('LocalStore: the place', () => {
  it('may not exist yet: then it holds nothing, and a put makes it', async () => {
    const dir = `${await tempDir()}/not/yet`;
    const store = new LocalStore(dir);
    for await (const object of store.list('')) expect.fail(object.key);
    await expect(store.get('key')).rejects.toThrow(code('STORE_NOT_FOUND'));
    await store.put('key', Buffer.from('x'));
    expect(filesIn(dir)).toEqual(['key']);
  });

  it('that is a file is STORE_DENIED', async () => {
    const file = `${await tempDir()}/file`;
    writeFileSync(file, 'x');
    const store = new LocalStore(file);
    await expect(store.put('key', Buffer.from('x'))).rejects.toThrow(code('STORE_DENIED'));
    await expect(store.get('key')).rejects.toThrow(code('STORE_DENIED'));
    await expect(store.list('')[Symbol.asyncIterator]().next()).rejects.toThrow(code('STORE_DENIED'));
  });

  it('that someone removed is made anew', async () => {
    const dir = await tempDir();
    const store = new LocalStore(dir);
    await store.put('a/b/one', Buffer.from('1'));
    rmSync(`${dir}/a`, { recursive: true });
    await store.put('a/b/two', Buffer.from('2'));
    expect(filesIn(dir)).toEqual(['two']);
  });

  it('may hold empty directories of others, as a fresh file system does', async () => {
    const dir = await tempDir();
    mkdirSync(`${dir}/lost+found`);
    for await (const object of new LocalStore(dir).list('')) expect.fail(object.key);
  });

  it('is named in every message, with what was done', async () => {
    const dir = await tempDir();
    await expect(new LocalStore(dir).get('some/key')).rejects.toThrow(`cannot read some/key in ${dir}`);
  });
});
