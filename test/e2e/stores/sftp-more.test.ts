import { randomBytes } from 'node:crypto';
import { access, readFile, writeFile } from 'node:fs/promises';
import { beforeAll, describe, expect, inject, it } from 'vitest';
import { RetryStore } from '../../../src/store/retry.ts';
import { storeContract } from '../../contract/store.ts';
import { sftpUrl } from '../../support/sftp.ts';
import { bash, failure, site } from '../../support/site.ts';
import { tempDir } from '../../support/temp.ts';
import type { Json } from '../../support/volbak.ts';
import { filesBelow, foreignKnownHosts, type Sshd, smallDisk, sshd } from './sshd.ts';

const code = (wanted: string) => expect.objectContaining({ code: wanted });

// A server of the bare protocol: every extension that volbak uses where it is offered is refused.
const BARE = 'internal-sftp -P posix-rename,hardlink,fsync,statvfs';
let bare: Sshd;
beforeAll(async () => {
  bare = await sshd(BARE);
});
storeContract('SftpStore on a server without extensions', {
  manyKeys: 300,
  make: async () => {
    const store = bare.store(`${await tempDir()}/new/place`);
    return { store, cleanup: () => store.close() };
  },
});

describe('access over SFTP', () => {
  it('to a host that known_hosts does not list is refused with exit 30, and the hint says how to trust it', async () => {
    const server = await sshd();
    const empty = `${server.dir}/empty`;
    await writeFile(empty, '');
    const at = await site({ repo: server.url(await tempDir(), { 'known-hosts': empty }) });
    const result = await at.run('init');
    expect(result.exit).toBe(30);
    expect(failure(result)).toMatchObject({
      code: 'STORE_DENIED',
      message: expect.stringMatching(/host key \(ssh-ed25519 SHA256:\S+\) that known_hosts does not list/),
      hint: expect.stringMatching(/ssh-keyscan .*accept-new/),
    });
    expect(await readFile(empty, 'utf8')).toBe('');
  });

  it('to a host whose key changed is refused, also with accept-new', async () => {
    const server = await sshd();
    const known = await foreignKnownHosts(server);
    for (const acceptNew of ['false', 'true']) {
      const error = await server
        .store(await tempDir(), { 'known-hosts': known, 'accept-new': acceptNew })
        .stat('key')
        .catch((e) => e);
      expect(error).toMatchObject({
        code: 'STORE_DENIED',
        retryable: false,
        message: expect.stringContaining('another host key'),
        hint: expect.stringContaining('ssh-keygen -R'),
      });
    }
  });

  it('with accept-new remembers the key, and from then on insists on it', async () => {
    const server = await sshd();
    const known = `${server.dir}/new/known_hosts`;
    const place = await tempDir();
    await server.store(place, { 'known-hosts': known, 'accept-new': 'true' }).put('key', Buffer.from('x'));
    expect(await readFile(known, 'utf8')).toBe(await readFile(`${server.dir}/known_hosts`, 'utf8'));
    expect((await server.store(place, { 'known-hosts': known }).get('key')).toString()).toBe('x');
    await server.stop();
    await bash(`rm -f '${server.dir}/host'*; ssh-keygen -q -t ed25519 -N '' -f '${server.dir}/host'`);
    await server.start();
    const again = server.store(place, { 'known-hosts': known, 'accept-new': 'true' });
    await expect(again.get('key')).rejects.toThrow(code('STORE_DENIED'));
  });

  it('with a key that the server does not know is STORE_DENIED and says what was tried', async () => {
    const server = await sshd();
    await bash(`ssh-keygen -q -t ed25519 -N '' -f '${server.dir}/other'`);
    const error = await server
      .store(await tempDir(), { key: `${server.dir}/other` })
      .stat('key')
      .catch((e) => e);
    expect(error).toMatchObject({
      code: 'STORE_DENIED',
      message: expect.stringContaining(`root@127.0.0.1:${server.port} does not let us in`),
      hint: expect.stringContaining(`${server.dir}/other`),
    });
  });

  it('with a key file that is missing, is no key, or has a passphrase says so', async () => {
    const server = await sshd();
    await writeFile(`${server.dir}/nokey`, 'hunter2');
    await bash(`ssh-keygen -q -t ed25519 -N hunter2 -f '${server.dir}/locked'`);
    for (const [file, why] of [
      ['absent', /cannot be read/],
      ['nokey', /cannot be used/],
      ['locked', /it has a passphrase/],
    ] as const) {
      const error = await server
        .store(await tempDir(), { key: `${server.dir}/${file}` })
        .stat('key')
        .catch((e) => e);
      expect(error).toMatchObject({ code: 'STORE_DENIED', message: expect.stringMatching(why) });
      expect(`${error.message} ${error.hint}`).not.toContain('hunter2');
    }
  });

  it('where a file is in the way of the directory is an error at once', async () => {
    const server = await sshd();
    const file = `${await tempDir()}/file`;
    await writeFile(file, 'in the way');
    const put = server.store(`${file}/below`).put('key', Buffer.from('x'));
    await expect(put).rejects.toThrow(expect.objectContaining({ name: 'VolbakError', retryable: false }));
  });
});

describe('the place over SFTP', () => {
  it('may be relative to the home directory', async () => {
    const server = await sshd();
    const name = `.volbak-test-${randomBytes(6).toString('hex')}`;
    try {
      const store = server.store(`/~/${name}/repo`);
      await store.put('a/b', Buffer.from('x'));
      const keys: string[] = [];
      for await (const { key } of store.list('')) keys.push(key);
      expect(keys).toEqual(['a/b']);
      expect((await store.get('a/b')).toString()).toBe('x');
      await access(`/root/${name}/repo/a/b`);
      await store.delete('a/b');
    } finally {
      await bash(`rm -rf /root/'${name}'`);
    }
  });

  it('that is read-only is STORE_DENIED to writers and open to readers', async () => {
    const server = await sshd();
    const disk = await smallDisk(20);
    const at = await site({ repo: server.url(`${disk}/repo`) });
    const volume = await at.volume('data', 'seq 1000 >numbers');
    const { id } = (await at.ok('backup', '--volume', volume)).snapshots[0];
    await bash(`mount -o remount,ro '${disk}'`);
    const store = server.store(`${disk}/repo`);
    await expect(store.put('new/key', Buffer.from('x'))).rejects.toThrow(code('STORE_DENIED'));
    await expect(store.put('key', Buffer.from('x'))).rejects.toThrow(code('STORE_DENIED'));
    const denied = await at.run('backup', '--volume', volume);
    expect(denied.exit).toBe(30);
    expect(failure(denied).message).toContain('read-only');
    await at.ok('restore', id, '--to-volume', at.name('back'), '--verify');
    expect((await at.ok('verify')).errors).toEqual([]);
    const local = await site();
    await local.ok('--repo', at.repo, 'copy', id, '--to', `${await tempDir()}/copy`);
    const doctor = await at.run('doctor');
    expect(doctor.exit).toBe(30);
    const checks = JSON.parse(doctor.stdout) as Json[];
    expect(checks.at(-1)).toMatchObject({
      name: 'store put',
      hint: expect.stringContaining('restore from here'),
    });
  });

  it('that is full is STORE_FULL, leaves no half file, and takes objects again when there is room', async () => {
    const server = await sshd();
    const disk = await smallDisk(8);
    const store = server.store(`${disk}/repo`);
    await store.put('kept', randomBytes(1024 * 1024));
    for (const size of [12, 40])
      await expect(store.put('large', Buffer.alloc(size * 1024 * 1024))).rejects.toThrow(code('STORE_FULL'));
    expect(await filesBelow(disk)).toEqual(['repo/kept']);
    await store.put('small', Buffer.alloc(5 * 1024 * 1024));
    await expect(store.put('one/more', Buffer.alloc(5 * 1024 * 1024))).rejects.toThrow(code('STORE_FULL'));
    expect(await filesBelow(disk)).toEqual(['repo/kept', 'repo/small']);
    await store.delete('small');
    await store.put('one/more', Buffer.alloc(5 * 1024 * 1024));
    await store.delete('one/more');

    const at = await site({ repo: server.url(`${disk}/fresh`) });
    const volume = await at.volume('big', 'head -c 30000000 /dev/urandom >random');
    const full = await at.run('backup', '--volume', volume);
    expect(full.exit).toBe(32);
    expect(failure(full)).toMatchObject({ code: 'STORE_FULL', hint: expect.stringContaining('room') });
    expect(await at.document('snapshots')).toEqual([]);
    expect((await filesBelow(disk)).filter((file) => file.includes('.tmp-'))).toEqual([]);
  });

  it('may lose directories that are empty for a moment to another run', async () => {
    const server = await sshd();
    const place = await tempDir();
    const stores = [server.store(place), server.store(place)];
    const work = stores.map(async (store, i) => {
      for (let n = 0; n < 60; n++) {
        await store.put(`segments/aa/${i}`, Buffer.from(String(n)));
        expect((await store.get(`segments/aa/${i}`)).toString()).toBe(String(n));
        await store.delete(`segments/aa/${i}`);
      }
    });
    await Promise.all(work);
  });
});

describe('a connection that is cut', () => {
  it('in the middle of a put is made anew, and the put goes on; no temporary file stays', async () => {
    const server = await sshd();
    const place = await tempDir();
    const told: string[] = [];
    const store = new RetryStore(server.store(place), {
      limitMs: 60_000,
      onRetry: (message) => told.push(message),
    });
    await store.put('first', Buffer.from('x'));
    const bytes = randomBytes(40 * 1024 * 1024);
    for (let round = 0; round < 20 && told.length === 0; round++) {
      const put = store.put(`large/${round}`, bytes);
      await bash(`until find '${place}' -name '.tmp-*' -size +1k | grep -q .; do :; done`);
      await server.cut();
      await put;
      expect((await store.get(`large/${round}`)).equals(bytes)).toBe(true);
    }
    expect(told.length).toBeGreaterThan(0);
    await store.put('last', Buffer.from('x'));
    expect((await filesBelow(place)).filter((file) => file.includes('.tmp-'))).toEqual([]);
  });

  it('in the middle of a get is made anew, and the get gives all bytes', async () => {
    const server = await sshd();
    const told: string[] = [];
    const store = new RetryStore(server.store(await tempDir()), {
      limitMs: 60_000,
      onRetry: (message) => told.push(message),
    });
    const bytes = randomBytes(40 * 1024 * 1024);
    await store.put('large', bytes);
    for (let round = 0; round < 20 && told.length === 0; round++) {
      const get = store.get('large');
      await new Promise((resolve) => setTimeout(resolve, 20));
      await server.cut();
      expect((await get).equals(bytes)).toBe(true);
    }
    expect(told.length).toBeGreaterThan(0);
  });

  it('between two calls costs nobody anything', async () => {
    const server = await sshd();
    const store = new RetryStore(server.store(await tempDir()), { limitMs: 60_000 });
    for (let i = 0; i < 3; i++) {
      await store.put(`key${i}`, Buffer.from('x'));
      await server.cut();
      expect((await store.get(`key${i}`)).toString()).toBe('x');
    }
  });

  it('for good is STORE_UNREACHABLE within the limit', async () => {
    const server = await sshd();
    const store = new RetryStore(server.store(await tempDir()), { limitMs: 1500 });
    await store.put('key', Buffer.from('x'));
    await server.stop();
    const started = performance.now();
    const error = await store.get('key').catch((e) => e);
    expect(error).toMatchObject({
      code: 'STORE_UNREACHABLE',
      message: expect.stringMatching(/given up after \d+ tries/),
    });
    expect(performance.now() - started).toBeLessThan(10_000);
  });
});

describe('doctor over SFTP', () => {
  it('finds all that is needed, and leaves nothing', async () => {
    const place = await tempDir();
    const at = await site({ repo: sftpUrl(inject('stores'), `${place}/repo`) });
    const result = await at.run('doctor');
    expect(result.exit).toBe(0);
    const states = (JSON.parse(result.stdout) as Json[]).filter(({ name }) => name.startsWith('store '));
    expect(states.map(({ state }) => state)).toEqual(Array(7).fill('ok'));
    expect(await filesBelow(place)).toEqual([]);
    await at.ok('init');
  });
});
