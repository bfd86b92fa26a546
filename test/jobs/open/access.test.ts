import { readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { beforeEach, describe, expect, it } from 'vitest';
import { readEnvironment } from '../../../src/config/env.ts';
import { readIdentities, readPassphrase } from '../../../src/config/secrets.ts';
import { generateIdentity, recipientOf } from '../../../src/core/age.ts';
import type { Event } from '../../../src/core/events.ts';
import { type Need, PinnedAccess, refuseNewInPlaceOfEncrypted } from '../../../src/jobs/open/access.ts';
import { assertRecipients, planEncryption } from '../../../src/jobs/open/init.ts';
import type { Secrets } from '../../../src/repository/key-slots.ts';
import { DESCRIPTOR } from '../../../src/repository/keys.ts';
import type { Manifest } from '../../../src/repository/manifest.ts';
import { PinFile } from '../../../src/repository/pins.ts';
import { Repository } from '../../../src/repository/repository.ts';
import { Session } from '../../../src/repository/session.ts';
import { MemoryStore } from '../../../src/store/memory.ts';
import { tempDir } from '../../support/temp.ts';

const NOW = new Date('2026-11-20T20:30:00Z');
const code = (wanted: string) => expect.objectContaining({ code: wanted });

let store: MemoryStore;
let mine: string;
let events: Event[];

beforeEach(async () => {
  store = new MemoryStore();
  mine = await generateIdentity();
  events = [];
});

interface Machine {
  need?: Need;
  secrets?: Secrets;
  trust?: boolean;
  namesKey?: string;
}

/** Everything that a machine is here is its state directory. */
function accessOf(
  state: string,
  { need = 'read', secrets = { identities: [mine] }, trust = false, namesKey }: Machine = {},
) {
  return new PinnedAccess({
    need,
    pin: new PinFile(state, 'memory'),
    stateDirectory: state,
    secrets: async () => secrets,
    namesKey: async () => namesKey,
    trust,
    emit: (event) => events.push(event),
  });
}

const open = (state: string, machine?: Machine) => Repository.open(store, accessOf(state, machine));

async function initEncrypted(state: string): Promise<Repository> {
  const plan = await planEncryption(store, [{ recipient: await recipientOf(mine) }]);
  return (await Repository.openOrInit(store, NOW, accessOf(state), plan)).repository;
}

function manifest(id: string): Manifest {
  const time = NOW.toISOString();
  return {
    format: 1,
    id,
    source: { host: 'alpha', kind: 'volume', name: 'data' },
    engine: { id: 'e', name: 'alpha', version: '20.10' },
    started: time,
    finished: time,
    parents: [],
    status: 'complete',
    warnings: [],
    tags: {},
    tool: 'test',
    helperTar: 'tar',
    leftOut: [],
    volumes: [],
  };
}

const A = '20261120T203000Z-aaaaaa';
const B = '20261120T203001Z-bbbbbb';
const name = (id: string) => ({ id, source: manifest(id).source });

async function keys(): Promise<string[]> {
  const all: string[] = [];
  for await (const { key } of store.list('')) all.push(key);
  return all.sort();
}

describe('an encrypted repository', () => {
  it('is written with the descriptor alone and read with the identity', async () => {
    const [host, admin] = [await tempDir(), await tempDir()];
    await initEncrypted(admin);
    const writer = await open(host, { need: 'write', secrets: { identities: [] } });
    await writer.commit(manifest(A));
    expect(await writer.snapshotNames()).toEqual([name(A)]);
    expect([writer.readable, (await open(admin)).readable]).toEqual([false, true]);
    await expect(writer.manifest(name(A))).rejects.toThrow(code('WRONG_KEY'));
    expect((await (await open(host)).manifest(name(A))).id).toBe(A);
  });

  it('hides all but the descriptor, keys, sessions and notes of prunes', async () => {
    const repository = await initEncrypted(await tempDir());
    const session = await Session.begin({ store: repository.store, kind: 'backup', uses: [], now: Date.now });
    await repository.commit(manifest(A));
    await repository.store.put('doomed/x.json', Buffer.from('{"segments":[]}'));
    await session.checkSegments(new Set());
    const found = await keys();
    expect(found).toEqual([
      'doomed/x.json',
      'keys/recipient-1.age',
      expect.stringMatching(/^sessions\/[0-9a-f]{16}\/000000\.json$/),
      `snapshots/alpha/volume/data/${A}.json.zst.age`,
      'volbak.json',
    ]);
    await session.end();
  });

  it('lets a host without the identity see which segments a prune is about to delete', async () => {
    await initEncrypted(await tempDir());
    const { store: writer } = await open(await tempDir(), { need: 'write', secrets: { identities: [] } });
    const segment = 'a'.repeat(64);
    await writer.put(`segments/aa/${segment}.zst`, Buffer.from('x'));
    const session = await Session.begin({ store: writer, kind: 'backup', uses: [], now: Date.now });
    await session.checkSegments(new Set([segment]));
    await store.put('doomed/x.json', Buffer.from(JSON.stringify({ segments: [segment] })));
    await expect(session.checkSegments(new Set([segment]))).rejects.toThrow(code('REPOSITORY_BUSY'));
    await session.end();
  });

  it('is WRONG_KEY at once without an identity, with a wrong one and with a wrong passphrase', async () => {
    const state = await tempDir();
    await initEncrypted(state);
    const wrong = { identities: [await generateIdentity()] };
    await expect(open(state, { secrets: { identities: [] } })).rejects.toThrow(code('WRONG_KEY'));
    await expect(open(state, { secrets: wrong })).rejects.toThrow(code('WRONG_KEY'));
    await expect(open(state, { secrets: { identities: [], passphrase: 'x' } })).rejects.toThrow(
      code('WRONG_KEY'),
    );
    // To write none will do, a wrong one is a mistake; a copy's target may have nothing to do with the source's.
    await expect(open(state, { need: 'write', secrets: wrong })).rejects.toThrow(code('WRONG_KEY'));
    const target = await open(state, { need: 'append', secrets: wrong });
    await expect(target.store.get('any')).rejects.toThrow(code('WRONG_KEY'));
  });

  it('is not opened without access to keys', async () => {
    await initEncrypted(await tempDir());
    await expect(Repository.open(store)).rejects.toThrow(code('WRONG_KEY'));
  });
});

describe('a repository that hides names', () => {
  async function initOpaque(state: string): Promise<Repository> {
    const to = [{ recipient: await recipientOf(mine) }];
    const plan = await planEncryption(store, to, { stateDirectory: state });
    return (await Repository.openOrInit(store, NOW, accessOf(state), plan)).repository;
  }
  const none = { need: 'write' as const, secrets: { identities: [] } };

  it('tells none in its keys, and all to who may read', async () => {
    const repository = await initOpaque(await tempDir());
    await repository.commit(manifest(A));
    expect((await keys()).join('\n')).not.toMatch(/alpha|volume|data/);
    const reader = await open(await tempDir());
    expect(await reader.snapshotNames()).toEqual([name(A)]);
  });

  it('can be written by a host that was handed the key for names, from then on without it', async () => {
    const admin = await tempDir();
    const { descriptor } = await initOpaque(admin);
    const namesKey = readFileSync(`${admin}/names/${descriptor.id}.key`, 'utf8');
    const host = await tempDir();
    await expect(open(host, none)).rejects.toThrow(code('WRONG_KEY'));
    await (await open(host, { ...none, namesKey })).commit(manifest(A));
    await (await open(host, none)).commit(manifest(B));
    expect(await (await open(host, none)).snapshotNames()).toEqual([name(A), name(B)]);
    expect(statSync(`${host}/names/${descriptor.id}.key`).mode & 0o777).toBe(0o600);
  });

  it('takes no other key than the one that its descriptor names, wherever it comes from', async () => {
    const repository = await initOpaque(await tempDir());
    const foreign = `${Buffer.alloc(32, 7).toString('base64')}\n`;
    for (const namesKey of [foreign, 'x', ''])
      await expect(open(await tempDir(), { ...none, namesKey })).rejects.toThrow(code('WRONG_KEY'));
    // Whoever knows the descriptor can encrypt one to the repository.
    await repository.store.put('names.key', Buffer.from(foreign));
    await expect(open(await tempDir())).rejects.toThrow(code('WRONG_KEY'));
  });

  it('is another one where its key for names changed', async () => {
    const state = await tempDir();
    await initOpaque(state);
    const descriptor = JSON.parse((await store.get(DESCRIPTOR)).toString());
    delete descriptor.encryption.names;
    await store.put(DESCRIPTOR, Buffer.from(JSON.stringify(descriptor)));
    await expect(open(state)).rejects.toThrow(code('WRONG_KEY'));
  });
});

describe('what was seen first', () => {
  async function replaceDescriptor(change: object): Promise<void> {
    const descriptor = JSON.parse((await store.get(DESCRIPTOR)).toString());
    await store.put(DESCRIPTOR, Buffer.from(JSON.stringify({ ...descriptor, ...change })));
  }

  it.each<[string, () => Promise<object>]>([
    ['another id', async () => ({ id: crypto.randomUUID() })],
    ['no encryption any more', async () => ({ encryption: null })],
    [
      'another key',
      async () => ({ encryption: { scheme: 'age', recipient: await recipientOf(await generateIdentity()) } }),
    ],
  ])('stays: %s is WRONG_KEY, and the hint says how to take it', async (_, change) => {
    const state = await tempDir();
    await initEncrypted(state);
    await replaceDescriptor(await change());
    const need = 'write' as const;
    const error = await open(state, { need, secrets: { identities: [] } }).catch((error) => error);
    expect(error).toMatchObject({ code: 'WRONG_KEY' });
    const file = /remove (\S+) and/.exec(error.hint)?.[1] as string;
    rmSync(file);
    await open(state, { need, secrets: { identities: [] } });
    // A machine that never saw it takes it for the right one.
    await open(await tempDir(), { need, secrets: { identities: [] } });
  });

  it('stays for repositories that are not encrypted, too', async () => {
    const state = await tempDir();
    await Repository.openOrInit(store, NOW, accessOf(state));
    await open(state);
    await replaceDescriptor({ id: crypto.randomUUID() });
    await expect(open(state)).rejects.toThrow(code('WRONG_KEY'));
  });

  it('keeps a new one from being made quietly where an encrypted one was', async () => {
    const state = await tempDir();
    const pin = new PinFile(state, 'memory');
    await refuseNewInPlaceOfEncrypted(pin);
    await initEncrypted(state);
    await expect(refuseNewInPlaceOfEncrypted(pin)).rejects.toThrow(code('WRONG_KEY'));
  });

  it('is in a file of the owner alone; one that cannot be read is no first use', async () => {
    const state = await tempDir();
    await initEncrypted(state);
    const pin = new PinFile(state, 'memory');
    expect(statSync(pin.path).mode & 0o777).toBe(0o600);
    expect(readdirSync(`${state}/repositories`)).toHaveLength(1);
    writeFileSync(pin.path, '{');
    await expect(open(state)).rejects.toThrow(code('WRONG_KEY'));
  });

  it('is only told where it cannot be written down', async () => {
    const plan = await planEncryption(store, [{ recipient: await recipientOf(mine) }]);
    await Repository.openOrInit(store, NOW, accessOf('/dev/null/state'), plan);
    expect(events).toMatchObject([
      { event: 'warning', message: expect.stringContaining('cannot be remembered') },
    ]);
  });
});

describe('writers of an encrypted repository', () => {
  it('are known from the first use on; a later one needs --trust, once', async () => {
    const [admin, a, b] = [await tempDir(), await tempDir(), await tempDir()];
    await initEncrypted(await tempDir());
    await (await open(a)).commit(manifest(A));
    expect((await (await open(admin)).manifest(name(A))).id).toBe(A);
    await (await open(b)).commit(manifest(B));
    const unknown = (await open(admin)).manifest(name(B));
    await expect(unknown).rejects.toThrow(code('WRONG_KEY'));
    await expect(unknown).rejects.toThrow(/unknown here/);
    await (await open(admin, { trust: true })).manifest(name(B));
    await (await open(admin)).manifest(name(B));
    await (await open(admin)).manifest(name(A));
  });

  it('met by the first command are all known, also where they are read at once', async () => {
    const [admin, a, b] = [await tempDir(), await tempDir(), await tempDir()];
    await initEncrypted(await tempDir());
    await (await open(a)).commit(manifest(A));
    await (await open(b)).commit(manifest(B));
    const first = await open(admin);
    for await (const { id } of first.manifests([name(A), name(B)])) expect([A, B]).toContain(id);
    for (const id of [A, B]) expect((await (await open(admin)).manifest(name(id))).id).toBe(id);
    expect((await new PinFile(admin, 'memory').read())?.writers).toHaveLength(2);
  });

  it('are not learned by a machine that made the repository or wrote to it: it has its own', async () => {
    const [maker, writer, foreign] = [await tempDir(), await tempDir(), await tempDir()];
    await initEncrypted(maker);
    await (await open(writer)).commit(manifest(A));
    await (await open(foreign)).commit(manifest(B));
    await (await open(writer)).manifest(name(A));
    for (const machine of [maker, writer])
      await expect((await open(machine)).manifest(name(B))).rejects.toThrow(code('WRONG_KEY'));
  });

  it('must have signed: a manifest without signature needs --trust each time', async () => {
    const repository = await initEncrypted(await tempDir());
    const plain = await Repository.open(store, {
      openStore: async () => repository.store,
    });
    await plain.commit(manifest(A));
    const reader = await tempDir();
    await expect((await open(reader)).manifest(name(A))).rejects.toThrow(/not signed/);
    await (await open(reader, { trust: true })).manifest(name(A));
    await expect((await open(reader)).manifest(name(A))).rejects.toThrow(code('WRONG_KEY'));
  });

  it('do not matter where nothing is encrypted, but signatures must fit', async () => {
    const [a, b] = [await tempDir(), await tempDir()];
    await Repository.openOrInit(store, NOW, accessOf(a));
    await (await open(a)).commit(manifest(A));
    const { signature } = await (await open(b)).manifest(name(A));
    expect(signature).toBeDefined();
    await (await open(b)).commit({ ...manifest(B), signature: signature! });
    await expect((await open(a)).manifest(name(B))).rejects.toThrow(code('INTEGRITY'));
  });

  it('without a key sign nothing where nothing is encrypted, and do not begin where it is', async () => {
    const { repository } = await Repository.openOrInit(store, NOW, accessOf('/dev/null/state'));
    await repository.commit(manifest(A));
    expect((await (await open(await tempDir())).manifest(name(A))).signature).toBeUndefined();
    store = new MemoryStore();
    await initEncrypted(await tempDir());
    await expect(open('/dev/null/state', { need: 'write' })).rejects.toThrow(code('CONFIG'));
  });
});

describe('secrets', () => {
  const env = (variables: NodeJS.ProcessEnv) => readEnvironment({ HOME: '/root', ...variables });
  const identities = (variables: NodeJS.ProcessEnv) => readIdentities(env(variables).identity);

  it('are identities as age-keygen writes them, with comments, in a file or a variable', async () => {
    const file = `${await tempDir()}/key`;
    const other = await generateIdentity();
    writeFileSync(file, `# created: today\n# public key: age1…\n${mine}\n\n${other}\r\n`);
    expect(await identities({ VOLBAK_IDENTITY_FILE: file })).toEqual([mine, other]);
    expect(await identities({ VOLBAK_IDENTITY: mine })).toEqual([mine]);
    expect(await identities({})).toEqual([]);
  });

  it('are passphrases, of a file without its line end', async () => {
    const file = `${await tempDir()}/phrase`;
    writeFileSync(file, ' with spaces \n');
    expect(await readPassphrase(env({ VOLBAK_PASSPHRASE_FILE: file }).passphrase)).toBe(' with spaces ');
    expect(await readPassphrase(env({ VOLBAK_PASSPHRASE: 'x' }).passphrase)).toBe('x');
    expect(await readPassphrase(env({}).passphrase)).toBeUndefined();
  });

  it('that cannot be used are WRONG_KEY, and never repeated', async () => {
    const file = `${await tempDir()}/key`;
    const bad = `${mine.slice(0, -1)}${mine.endsWith('Q') ? 'P' : 'Q'}`;
    for (const text of ['', '# nothing\n', 'hello', bad, `${mine}\n${bad}\n`, await recipientOf(mine)]) {
      writeFileSync(file, text);
      const error = await identities({ VOLBAK_IDENTITY_FILE: file }).catch((error) => error);
      expect(error, text).toMatchObject({ code: 'WRONG_KEY' });
      expect(`${error.message}${error.hint}${error.stack}`).not.toContain(mine.slice(20, 50));
    }
    await expect(identities({ VOLBAK_IDENTITY_FILE: '/nonexistent' })).rejects.toThrow(code('WRONG_KEY'));
    writeFileSync(file, '\n');
    const empty = readPassphrase(env({ VOLBAK_PASSPHRASE_FILE: file }).passphrase);
    await expect(empty).rejects.toThrow(code('WRONG_KEY'));
    expect(readFileSync(file, 'utf8')).toBe('\n');
  });

  it('are never recipients: one that is none is USAGE, and an identity in its place is not repeated', async () => {
    await assertRecipients([await recipientOf(mine)]);
    for (const bad of ['', 'age1', 'ssh-ed25519 AAAA', 'someone@example.net', 'age1yubikey1qqqq'])
      await expect(assertRecipients([bad]), bad).rejects.toThrow(code('USAGE'));
    const error = await assertRecipients([mine]).catch((error) => error);
    expect(error).toMatchObject({ code: 'USAGE' });
    expect(`${error.message}${error.hint}`).not.toContain(mine.slice(20, 40));
  });
});
