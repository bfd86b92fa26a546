import { createHash, randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { isVolbakError } from '../../src/core/errors.ts';
import type { Store, StoredObject } from '../../src/store/store.ts';
import { afterwards } from '../support/temp.ts';

export interface StoreContract {
  /** A store over a place that is empty or does not exist yet. */
  make(): Promise<{ store: Store; cleanup(): Promise<void> }>;
  /** False where a put with `ifAbsent` can only look before it writes. */
  atomicIfAbsent?: boolean;
  /** False where a put of a few MiB may be over before a signal comes. */
  abortsPuts?: boolean;
  /** Keys of the long listing; fewer for slow servers, but more than one page of theirs. */
  manyKeys?: number;
}

async function collect(list: AsyncIterable<StoredObject>): Promise<StoredObject[]> {
  const all: StoredObject[] = [];
  for await (const object of list) all.push(object);
  return all.sort((a, b) => (a.key < b.key ? -1 : 1));
}

async function keysOf(store: Store, prefix: string): Promise<string[]> {
  return (await collect(store.list(prefix))).map(({ key }) => key);
}

const code = (wanted: string) => expect.objectContaining({ code: wanted });
const sum = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

/** What every Store promises. Each implementation runs this suite. */
export function storeContract(name: string, options: StoreContract): void {
  const { atomicIfAbsent = true, abortsPuts = true, manyKeys = 2500 } = options;

  async function make(): Promise<Store> {
    const { store, cleanup } = await options.make();
    afterwards(cleanup);
    return store;
  }

  describe(`${name}: objects`, () => {
    it('come back as they were put', async () => {
      const store = await make();
      const bytes = randomBytes(100_000);
      await store.put('a/b/c.bin', bytes);
      expect((await store.get('a/b/c.bin')).equals(bytes)).toBe(true);
      expect(await store.stat('a/b/c.bin')).toMatchObject({ key: 'a/b/c.bin', size: 100_000 });
    });

    it('may be empty', async () => {
      const store = await make();
      await store.put('empty', new Uint8Array(0));
      expect((await store.get('empty')).length).toBe(0);
      expect((await store.stat('empty')).size).toBe(0);
      expect(await collect(store.list(''))).toMatchObject([{ key: 'empty', size: 0 }]);
    });

    it('may be of 40 MiB', async () => {
      const store = await make();
      const bytes = randomBytes(40 * 1024 * 1024);
      await store.put('large', bytes);
      expect(sum(await store.get('large'))).toBe(sum(bytes));
      const range = { offset: bytes.length - 5, length: 5 };
      expect((await store.get('large', { range })).equals(bytes.subarray(-5))).toBe(true);
    });

    it('may be a view into larger memory, which may change after the put', async () => {
      const store = await make();
      const memory = Buffer.from('before-OBJECT-after');
      await store.put('view', memory.subarray(7, 13));
      memory.fill(0);
      expect((await store.get('view')).toString()).toBe('OBJECT');
    });

    it('are visible to get, stat and list as soon as put resolves', async () => {
      const store = await make();
      for (let i = 0; i < 20; i++) {
        const key = `at-once/${i}`;
        await store.put(key, Buffer.from(String(i)));
        expect((await store.get(key)).toString()).toBe(String(i));
        expect(await keysOf(store, 'at-once/')).toContain(key);
      }
    });

    it('are replaced by a second put', async () => {
      const store = await make();
      await store.put('key', Buffer.from('a longer first object'));
      await store.put('key', Buffer.from('second'));
      expect((await store.get('key')).toString()).toBe('second');
      expect(await collect(store.list(''))).toMatchObject([{ key: 'key', size: 6 }]);
    });

    it('tell when they were put, by the store’s clock', async () => {
      const store = await make();
      await store.put('one', Buffer.from('1'));
      const { modified } = await store.stat('one');
      const [listed] = await collect(store.list('one'));
      expect(Math.abs(modified.getTime() - Date.now())).toBeLessThan(60_000);
      expect(Math.abs((listed as StoredObject).modified.getTime() - modified.getTime())).toBeLessThan(1000);
    });
  });

  describe(`${name}: keys`, () => {
    it.each([
      'a',
      '~tilde',
      'a.b..c',
      'per%20cent/%2E%2E/%C3%BC',
      'a+b=c@d,e-f_g',
      'UPPER/lower',
      'x'.repeat(200),
      `${'deep/'.repeat(30)}end`,
      '.hidden/.dot',
      '...',
    ])('may be %s', async (key) => {
      const store = await make();
      await store.put(key, Buffer.from(key));
      expect((await store.get(key)).toString()).toBe(key);
      expect((await store.stat(key)).key).toBe(key);
      expect(await keysOf(store, '')).toEqual([key]);
      await store.delete(key);
      expect(await keysOf(store, '')).toEqual([]);
    });

    it('that differ in case or by encoding are different', async () => {
      const store = await make();
      const keys = ['%2f', '%2F', 'a', 'A', 'a%41', 'aA'];
      for (const key of keys) await store.put(key, Buffer.from(key));
      for (const key of keys) expect((await store.get(key)).toString()).toBe(key);
      expect(await keysOf(store, '')).toEqual([...keys].sort());
    });

    it.each([
      ['', 'nothing'],
      ['/absolute', 'absolute'],
      ['a/', 'a slash at the end'],
      ['a//b', 'an empty part'],
      ['..', 'the parent'],
      ['../escape', 'out of the place'],
      ['a/../b', 'a step up'],
      ['a/./b', 'a dot'],
      ['a\nb', 'a control character'],
      ['a\0b', 'NUL'],
      ['a\\b', 'a backslash'],
      ['a b', 'a space'],
      ['ü', 'not ASCII'],
      ['a/.tmp-x', 'the name of a temporary file'],
      ['x'.repeat(901), 'longer than stores take'],
    ])('must not be %j: %s', async (key) => {
      const store = await make();
      await expect(store.put(key, Buffer.from('x'))).rejects.toThrow(code('UNEXPECTED'));
      await expect(store.get(key)).rejects.toThrow(code('UNEXPECTED'));
      await expect(store.stat(key)).rejects.toThrow(code('UNEXPECTED'));
      await expect(store.delete(key)).rejects.toThrow(code('UNEXPECTED'));
      expect(await keysOf(store, '')).toEqual([]);
    });
  });

  describe(`${name}: what is not there`, () => {
    it('is STORE_NOT_FOUND to get and stat', async () => {
      const store = await make();
      await expect(store.get('absent')).rejects.toThrow(code('STORE_NOT_FOUND'));
      await expect(store.stat('absent')).rejects.toThrow(code('STORE_NOT_FOUND'));
      await expect(store.get('no/such/place')).rejects.toThrow(code('STORE_NOT_FOUND'));
      const range = { offset: 0, length: 1 };
      await expect(store.get('absent', { range })).rejects.toThrow(code('STORE_NOT_FOUND'));
      await store.put('there', Buffer.from('x'));
      await expect(store.get('ther')).rejects.toThrow(code('STORE_NOT_FOUND'));
    });

    it('includes the beginning of longer keys', async () => {
      const store = await make();
      await store.put('a/b/c', Buffer.from('x'));
      await expect(store.stat('a/b')).rejects.toThrow(code('STORE_NOT_FOUND'));
      await expect(store.get('a/b')).rejects.toThrow(code('STORE_NOT_FOUND'));
    });

    it('is an empty listing', async () => {
      const store = await make();
      expect(await keysOf(store, '')).toEqual([]);
      expect(await keysOf(store, 'no/such/place/')).toEqual([]);
      await store.put('a/b', Buffer.from('x'));
      expect(await keysOf(store, 'b')).toEqual([]);
      expect(await keysOf(store, 'a/b/c')).toEqual([]);
      expect(await keysOf(store, 'a/c')).toEqual([]);
    });

    it('can be deleted, also twice', async () => {
      const store = await make();
      await store.delete('never/was');
      await store.put('a/b', Buffer.from('x'));
      await store.delete('a/b');
      await store.delete('a/b');
      await expect(store.get('a/b')).rejects.toThrow(code('STORE_NOT_FOUND'));
      expect(await keysOf(store, '')).toEqual([]);
      await store.put('a/b', Buffer.from('again'));
      expect((await store.get('a/b')).toString()).toBe('again');
    });
  });

  describe(`${name}: ifAbsent`, () => {
    it('raises STORE_EXISTS and changes nothing where the key is taken', async () => {
      const store = await make();
      await store.put('key', Buffer.from('first'), { ifAbsent: true });
      const second = store.put('key', Buffer.from('second'), { ifAbsent: true });
      await expect(second).rejects.toThrow(code('STORE_EXISTS'));
      expect((await store.get('key')).toString()).toBe('first');
      await store.delete('key');
      await store.put('key', Buffer.from('third'), { ifAbsent: true });
      expect((await store.get('key')).toString()).toBe('third');
    });

    const onlyAtomic = atomicIfAbsent ? it : undefined;
    onlyAtomic?.('lets exactly one of many win', async () => {
      const store = await make();
      const bodies = Array.from({ length: 12 }, (_, i) => Buffer.alloc(200_000, i));
      const results = await Promise.allSettled(
        bodies.map((body) => store.put('dir/key', body, { ifAbsent: true })),
      );
      const won = results.flatMap((r, i) => (r.status === 'fulfilled' ? [i] : []));
      expect(won).toHaveLength(1);
      for (const r of results) {
        if (r.status === 'rejected')
          expect(isVolbakError(r.reason, 'STORE_EXISTS'), String(r.reason)).toBe(true);
      }
      expect((await store.get('dir/key')).equals(bodies[won[0] as number] as Buffer)).toBe(true);
    });
  });

  describe(`${name}: at the same time`, () => {
    it('puts of one key leave one of them whole', async () => {
      const store = await make();
      const bodies = Array.from({ length: 8 }, (_, i) => Buffer.alloc(300_000 + i, i + 1));
      let reading = true;
      const reader = (async () => {
        while (reading) {
          const seen = await store.get('key').catch((error) => {
            if (!isVolbakError(error, 'STORE_NOT_FOUND')) throw error;
          });
          if (seen) expect(bodies.some((body) => body.equals(seen))).toBe(true);
          await new Promise((resolve) => setImmediate(resolve));
        }
      })();
      await Promise.all(bodies.map((body) => store.put('key', body)));
      reading = false;
      await reader;
      const left = await store.get('key');
      expect(bodies.some((body) => body.equals(left))).toBe(true);
      expect(await keysOf(store, '')).toEqual(['key']);
    });

    it('puts of many keys in new places all succeed', async () => {
      const store = await make();
      const keys = Array.from({ length: 40 }, (_, i) => `new/${i % 4}/${i}`);
      await Promise.all(keys.map((key) => store.put(key, Buffer.from(key))));
      expect(await keysOf(store, 'new/')).toEqual([...keys].sort());
    });
  });

  describe(`${name}: list`, () => {
    it(`gives all of ${manyKeys} keys, each once, and those of a prefix`, async () => {
      const store = await make();
      const keys = Array.from(
        { length: manyKeys },
        (_, i) => `many/${i % 7}/object-${String(i).padStart(5, '0')}`,
      );
      for (let at = 0; at < keys.length; at += 50) {
        await Promise.all(keys.slice(at, at + 50).map((key) => store.put(key, Buffer.from(key))));
      }
      await store.put('other', Buffer.from('x'));
      expect(await keysOf(store, 'many/')).toEqual([...keys].sort());
      const three = keys.filter((key) => key.startsWith('many/3/object-000'));
      expect(three.length).toBeGreaterThan(5);
      expect(await keysOf(store, 'many/3/object-000')).toEqual(three.sort());
      expect((await keysOf(store, '')).length).toBe(manyKeys + 1);
    });

    it('takes a prefix in the middle of a part, bytewise', async () => {
      const store = await make();
      for (const key of ['ab/1', 'abc/2', 'abc/d/3', 'b/ab/4', 'ab']) {
        if (key !== 'ab') await store.put(key, Buffer.from('x'));
      }
      expect(await keysOf(store, 'a')).toEqual(['ab/1', 'abc/2', 'abc/d/3']);
      expect(await keysOf(store, 'ab/')).toEqual(['ab/1']);
      expect(await keysOf(store, 'abc')).toEqual(['abc/2', 'abc/d/3']);
      expect(await keysOf(store, 'abc/d')).toEqual(['abc/d/3']);
      expect(await keysOf(store, 'abc/2')).toEqual(['abc/2']);
    });

    it('survives deletes while it goes on', async () => {
      const store = await make();
      for (let i = 0; i < 30; i++) await store.put(`gone/${i}`, Buffer.from('x'));
      let seen = 0;
      for await (const { key } of store.list('gone/')) {
        seen++;
        await store.delete(key);
      }
      expect(seen).toBe(30);
      expect(await keysOf(store, '')).toEqual([]);
    });
  });

  describe(`${name}: ranges`, () => {
    it('give exactly their bytes, at every edge', async () => {
      const store = await make();
      const bytes = randomBytes(1000);
      await store.put('object', bytes);
      for (const [offset, length] of [
        [0, 1],
        [0, 1000],
        [999, 1],
        [1, 998],
        [0, 999],
        [1, 999],
        [500, 250],
      ] as const) {
        const part = await store.get('object', { range: { offset, length } });
        expect(part.equals(bytes.subarray(offset, offset + length)), `${offset} ${length}`).toBe(true);
      }
    });

    it('beyond the end are INTEGRITY, never a short answer', async () => {
      const store = await make();
      await store.put('object', randomBytes(1000));
      await store.put('empty', new Uint8Array(0));
      for (const [offset, length] of [
        [0, 1001],
        [999, 2],
        [1000, 1],
        [5000, 10],
      ] as const) {
        const part = store.get('object', { range: { offset, length } });
        await expect(part, `${offset} ${length}`).rejects.toThrow(code('INTEGRITY'));
      }
      await expect(store.get('empty', { range: { offset: 0, length: 1 } })).rejects.toThrow(
        code('INTEGRITY'),
      );
    });
  });

  describe(`${name}: signals`, () => {
    it('that were given before raise their reason and do nothing', async () => {
      const store = await make();
      await store.put('there', Buffer.from('x'));
      const reason = new Error('stopped by the test');
      const signal = AbortSignal.abort(reason);
      await expect(store.put('new', Buffer.from('x'), { signal })).rejects.toBe(reason);
      await expect(store.get('there', { signal })).rejects.toBe(reason);
      await expect(store.stat('there', { signal })).rejects.toBe(reason);
      await expect(store.delete('there', { signal })).rejects.toBe(reason);
      await expect(collect(store.list('', { signal }))).rejects.toBe(reason);
      expect(await keysOf(store, '')).toEqual(['there']);
    });

    const onlyAborting = abortsPuts ? it : undefined;
    onlyAborting?.('in the middle of a put leave nothing and are no error of the store', async () => {
      const store = await make();
      const bytes = Buffer.alloc(32 * 1024 * 1024);
      const controller = new AbortController();
      const put = store.put('aborted', bytes, { signal: controller.signal });
      setImmediate(() => controller.abort());
      await expect(put).rejects.toThrow(expect.objectContaining({ name: 'AbortError' }));
      expect(await keysOf(store, '')).toEqual([]);
      await expect(store.get('aborted')).rejects.toThrow(code('STORE_NOT_FOUND'));
      await store.put('aborted', Buffer.from('later'));
      expect((await store.get('aborted')).toString()).toBe('later');
    });
  });
}
