import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import { generateIdentity, recipientOf, sealFor } from '../../src/core/age.ts';
import { planEncryption } from '../../src/jobs/open/init.ts';
import { initRepository, readDescriptor } from '../../src/repository/descriptor.ts';
import { KeySlots } from '../../src/repository/key-slots.ts';
import { DESCRIPTOR } from '../../src/repository/keys.ts';
import { MemoryStore } from '../../src/store/memory.ts';
import { tempDir } from '../support/temp.ts';

const code = (wanted: string) => expect.objectContaining({ code: wanted });
const NOW = new Date('2026-11-20T20:30:00Z');
const ID = 'b54ae7a0-6f2e-4d33-93a6-4d65e0b3a2a1';

let store: MemoryStore;
let slots: KeySlots;
let secret: string;
let mine: string;

beforeEach(async () => {
  store = new MemoryStore();
  slots = new KeySlots(store);
  secret = await generateIdentity();
  mine = await generateIdentity();
});

const encryption = async () => ({ scheme: 'age' as const, recipient: await recipientOf(secret) });
const names = async () => (await slots.list()).map(({ name, kind }) => `${name} ${kind}`);

describe('keys/', () => {
  it('open with the identity they were made for, with the passphrase, and with the own identity', async () => {
    await slots.add(secret, ID, { recipient: await recipientOf(mine) });
    await slots.add(secret, ID, { passphrase: 'correct horse' });
    expect(await names()).toEqual(['passphrase-1 passphrase', 'recipient-1 recipient']);
    const to = await encryption();
    const wrong = await generateIdentity();
    expect(await slots.unlock({ identities: [wrong, mine] }, to)).toBe(secret);
    expect(await slots.unlock({ identities: [secret] }, to)).toBe(secret);
    expect(await slots.unlock({ identities: [], passphrase: 'correct horse' }, to)).toBe(secret);
    expect(await slots.unlock({ identities: [wrong], passphrase: 'wrong horse' }, to)).toBeUndefined();
    expect(await slots.unlock({ identities: [] }, to)).toBeUndefined();
  });

  it('are opened by the age of Debian, and what is in them is an identity file', async () => {
    const dir = await tempDir();
    await slots.add(secret, ID, { recipient: await recipientOf(mine) });
    writeFileSync(`${dir}/mine`, `${mine}\n`);
    const input = await store.get('keys/recipient-1.age');
    const text = execFileSync('age', ['-d', '-i', `${dir}/mine`], { input, encoding: 'utf8' });
    expect(text).toContain(`# volbak repository ${ID}\n`);
    writeFileSync(`${dir}/opened`, text);
    const recipient = execFileSync('age-keygen', ['-y', `${dir}/opened`], { encoding: 'utf8' }).trim();
    expect(recipient).toBe(await recipientOf(secret));
  });

  it('lead nobody to an identity that the descriptor does not name', async () => {
    const foreign = await generateIdentity();
    const bytes = await sealFor(Buffer.from(`${foreign}\n`), { recipient: await recipientOf(mine) });
    await store.put('keys/a.age', bytes);
    await store.put('keys/b.age', Buffer.from('no age file'));
    expect(await slots.unlock({ identities: [mine] }, await encryption())).toBeUndefined();
    await slots.add(secret, ID, { recipient: await recipientOf(mine) });
    expect(await slots.unlock({ identities: [mine] }, await encryption())).toBe(secret);
  });

  it('have names of their own: given ones once, others by number', async () => {
    const to = { recipient: await recipientOf(mine) };
    expect(await slots.add(secret, ID, to, 'laptop')).toBe('laptop');
    await expect(slots.add(secret, ID, to, 'laptop')).rejects.toThrow(code('USAGE'));
    for (const bad of ['', '../x', 'A', '.hidden', 'a b', 'x'.repeat(62)])
      await expect(slots.add(secret, ID, to, bad), bad).rejects.toThrow(code('USAGE'));
    expect(await slots.add(secret, ID, to)).toBe('recipient-1');
    expect(await slots.add(secret, ID, to)).toBe('recipient-2');
  });

  it('can be removed, but not the last one, nor one that is not there', async () => {
    const to = { recipient: await recipientOf(mine) };
    await slots.add(secret, ID, to, 'one');
    await expect(slots.remove('one')).rejects.toThrow(code('USAGE'));
    await slots.add(secret, ID, to, 'two');
    await expect(slots.remove('three')).rejects.toThrow(code('USAGE'));
    await slots.remove('one');
    expect(await names()).toEqual(['two recipient']);
  });

  it('never all go, also where two are removed at once', async () => {
    const to = { recipient: await recipientOf(mine) };
    await slots.add(secret, ID, to, 'one');
    await slots.add(secret, ID, to, 'two');
    await Promise.allSettled([slots.remove('one'), slots.remove('two')]);
    expect((await slots.list()).length).toBeGreaterThan(0);
  });
});

describe('init of an encrypted repository', () => {
  const holder = async () => [{ recipient: await recipientOf(mine) }];

  it('puts the keys before the descriptor, so that none ever stands that nobody can open', async () => {
    const put = vi.spyOn(store, 'put');
    const plan = await planEncryption(store, await holder());
    const { descriptor } = await initRepository(store, NOW, plan);
    expect(put.mock.calls.map(([key]) => key)).toEqual(['keys/recipient-1.age', DESCRIPTOR]);
    expect(descriptor.encryption).toEqual(plan.encryption);
    expect(await readDescriptor(store)).toEqual(descriptor);
    expect(await slots.unlock({ identities: [mine] }, plan.encryption)).toMatch(/^AGE-SECRET-KEY-1/);
  });

  it('takes its keys back where another init was first', async () => {
    const plan = await planEncryption(store, await holder());
    const put = store.put.bind(store);
    vi.spyOn(store, 'put').mockImplementation(async (key, bytes, options) => {
      if (key === DESCRIPTOR && options?.ifAbsent) {
        vi.restoreAllMocks();
        await put(
          DESCRIPTOR,
          Buffer.from(JSON.stringify({ format: 1, id: ID, created: 'x', cut: 1, encryption: null })),
        );
      }
      await put(key, bytes, options);
    });
    const made = await initRepository(store, NOW, plan);
    expect(made).toMatchObject({ created: false, descriptor: { id: ID, encryption: null } });
    expect(await slots.list()).toEqual([]);
  });

  it.each([
    ['another scheme', { scheme: 'other', recipient: 'age1x' }],
    ['no recipient', { scheme: 'age' }],
    ['a recipient that is none', { scheme: 'age', recipient: 'age1…' }],
    ['a field more', { scheme: 'age', recipient: `age1${'q'.repeat(58)}`, more: 1 }],
    ['a text', 'age'],
  ])('with %s in its descriptor asks for a newer volbak', async (_, value) => {
    const descriptor = { format: 1, id: ID, created: 'x', cut: 1, encryption: value };
    await store.put(DESCRIPTOR, Buffer.from(JSON.stringify(descriptor)));
    await expect(readDescriptor(store)).rejects.toThrow(
      expect.objectContaining({ code: 'REPOSITORY_INVALID', hint: 'Use a newer volbak.' }),
    );
  });
});
