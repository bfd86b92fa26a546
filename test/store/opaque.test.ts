import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { manifestKey, parseManifestKey } from '../../src/repository/keys.ts';
import { assertKey } from '../../src/store/keys.ts';
import { MemoryStore } from '../../src/store/memory.ts';
import { NameCipher, OpaqueStore } from '../../src/store/opaque.ts';
import type { Store } from '../../src/store/store.ts';
import { storeContract } from '../contract/store.ts';

const key = randomBytes(32);
const code = (wanted: string) => expect.objectContaining({ code: wanted });

storeContract('OpaqueStore over MemoryStore', {
  make: async () => ({ store: new OpaqueStore(new MemoryStore(), key), cleanup: async () => {} }),
  abortsPuts: false,
});

async function listed(store: Store, prefix = ''): Promise<string[]> {
  const keys: string[] = [];
  for await (const object of store.list(prefix)) keys.push(object.key);
  return keys.sort();
}

describe('OpaqueStore', () => {
  const ID = '20261120T203000Z-4f9c2a';
  const of = (host: string, name: string) => manifestKey({ host, kind: 'container', name }, ID);

  it('hides hosts, kinds and names of manifests, alone and condemned, and shows them to who has the key', async () => {
    const inner = new MemoryStore();
    const store = new OpaqueStore(inner, key);
    const keys = [
      of('alpha', 'database'),
      of('alpha', 'website'),
      of('beta', 'database'),
      'segments/aa/x.zst',
      'volbak.json',
    ];
    keys.push(of('alpha', 'database').replace('snapshots/', 'condemned/'));
    for (const k of keys) await store.put(k, Buffer.from(k));
    const below = await listed(inner);
    // Long names: two or three letters turn up in what is hidden by chance.
    expect(below.join(' ')).not.toMatch(/alpha|beta|database|website|container/);
    expect(below.filter((k) => k.endsWith(`/${ID}.json.zst`))).toHaveLength(4);
    for (const k of below) assertKey(k);
    expect(await listed(store)).toEqual([...keys].sort());
    expect(await listed(store, 'snapshots/alpha/')).toEqual([
      of('alpha', 'database'),
      of('alpha', 'website'),
    ]);
    expect(await listed(store, 'snap')).toHaveLength(3);
    for (const k of keys) {
      expect((await store.get(k)).toString()).toBe(k);
      expect((await store.stat(k)).key).toBe(k);
      await store.delete(k);
    }
    expect(await listed(inner)).toEqual([]);
  });

  it('lists what was hidden with another key, so that a prune stops at it, but as no snapshot', async () => {
    const inner = new MemoryStore();
    await new OpaqueStore(inner, randomBytes(32)).put(of('alpha', 'db'), Buffer.from('x'));
    const found = await listed(new OpaqueStore(inner, key));
    expect(found).toEqual(await listed(inner));
    expect(found.map(parseManifestKey)).toEqual([undefined]);
  });

  it('refuses a name that a file system could not take when hidden', async () => {
    const store = new OpaqueStore(new MemoryStore(), key);
    await store.put(of('alpha', 'x'.repeat(160)), Buffer.from('x'));
    await expect(store.put(of('alpha', 'x'.repeat(161)), Buffer.from('x'))).rejects.toThrow(code('USAGE'));
  });
});

describe('NameCipher', () => {
  const cipher = new NameCipher(key);

  it('gives every name back, the same each time, and different for another level or key', () => {
    const part = fc.stringMatching(/^[A-Za-z0-9._~%-]{1,160}$/);
    fc.assert(
      fc.property(part, fc.integer({ min: 0, max: 2 }), (name, level) => {
        const hidden = cipher.hide(name, level);
        expect(cipher.reveal(hidden, level)).toBe(name);
        expect(cipher.hide(name, level)).toBe(hidden);
        expect(hidden.length).toBeLessThanOrEqual(255);
        expect(cipher.reveal(hidden, level + 1)).toBeUndefined();
        expect(cipher.hide(name, level + 1)).not.toBe(hidden);
        expect(new NameCipher(randomBytes(32)).reveal(hidden, level)).toBeUndefined();
      }),
    );
  });

  it('does not tell short names apart by their length, and reveals nothing that was changed', () => {
    expect(cipher.hide('a', 2).length).toBe(cipher.hide('a-longer-name-of-a-container', 2).length);
    const hidden = cipher.hide('db', 2);
    for (let at = 0; at < hidden.length; at++) {
      const changed = hidden.slice(0, at) + (hidden[at] === 'A' ? 'B' : 'A') + hidden.slice(at + 1);
      expect(cipher.reveal(changed, 2)).toBeUndefined();
    }
    for (const text of ['', 'db', 'container', '!!']) expect(cipher.reveal(text, 0)).toBeUndefined();
  });
});
