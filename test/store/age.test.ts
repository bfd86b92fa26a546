import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { generateIdentity, recipientOf } from '../../src/core/age.ts';
import { CHUNK, PREFIX, plainSize, STORED_CHUNK, storedSize } from '../../src/core/age-payload.ts';
import { AgeStore } from '../../src/store/age.ts';
import { LocalStore } from '../../src/store/local.ts';
import { MemoryStore } from '../../src/store/memory.ts';
import type { Store } from '../../src/store/store.ts';
import { storeContract } from '../contract/store.ts';
import { tempDir } from '../support/temp.ts';

let identity: string;
let recipient: string;
let keyFile: string;

beforeAll(async () => {
  identity = await generateIdentity();
  recipient = await recipientOf(identity);
  keyFile = `${await tempDir()}/key`;
  writeFileSync(keyFile, `# a comment\n${identity}\n`);
});

const code = (wanted: string) => expect.objectContaining({ code: wanted });
const isPlain = (key: string) => key.startsWith('plain/');
const isImmutable = (key: string) => key.startsWith('fixed/');
const wrap = (inner: Store) => new AgeStore(inner, { recipient, identity, isPlain, isImmutable });

storeContract('AgeStore over MemoryStore', {
  make: async () => ({ store: wrap(new MemoryStore()), cleanup: async () => {} }),
  abortsPuts: false,
});
storeContract('AgeStore over LocalStore', {
  make: async () => ({ store: wrap(new LocalStore(`${await tempDir()}/place`)), cleanup: async () => {} }),
});

/** Sizes at and around every edge of chunks. */
const SIZES = [
  0,
  1,
  15,
  16,
  17,
  CHUNK - 1,
  CHUNK,
  CHUNK + 1,
  2 * CHUNK - 1,
  2 * CHUNK,
  2 * CHUNK + 1,
  5 * CHUNK + 7,
];
const age = (args: string[], input: Buffer) =>
  execFileSync('age', args, { input, maxBuffer: 1 << 26, stdio: ['pipe', 'pipe', 'pipe'] });

/** A store in memory whose gets are counted. */
class CountingStore extends MemoryStore {
  gets: { key: string; length: number | undefined }[] = [];
  stats = 0;
  override async get(key: string, options?: Parameters<Store['get']>[1]): Promise<Buffer> {
    this.gets.push({ key, length: options?.range?.length });
    return super.get(key, options);
  }
  override async stat(key: string): ReturnType<Store['stat']> {
    this.stats++;
    return super.stat(key);
  }
}

async function listed(store: Store): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of store.list('')) keys.push(key);
  return keys.sort();
}

describe('AgeStore and the age of Debian', () => {
  it.each(SIZES)('age -d opens what was put, of %d bytes', async (size) => {
    const inner = new MemoryStore();
    const bytes = randomBytes(size);
    await wrap(inner).put('object', bytes);
    const stored = await inner.get('object.age');
    expect(stored.length).toBe(storedSize(size));
    expect(age(['-d', '-i', keyFile], stored).equals(bytes)).toBe(true);
  });

  it.each(SIZES)('what age encrypted is read, of %d bytes', async (size) => {
    const inner = new MemoryStore();
    const bytes = randomBytes(size);
    await inner.put('object.age', age(['-r', recipient], bytes));
    const store = wrap(inner);
    expect((await store.stat('object')).size).toBe(size);
    expect((await store.get('object')).equals(bytes)).toBe(true);
    if (size > 0) {
      const range = { offset: size - 1, length: 1 };
      expect((await store.get('object', { range })).equals(bytes.subarray(-1))).toBe(true);
    }
  });

  it('gives every object a key of its own: equal ones look different', async () => {
    const inner = new MemoryStore();
    const store = wrap(inner);
    await store.put('a', Buffer.alloc(1000));
    await store.put('b', Buffer.alloc(1000));
    const [a, b] = [await inner.get('a.age'), await inner.get('b.age')];
    expect(a.subarray(22).equals(b.subarray(22))).toBe(false);
    expect(a.subarray(PREFIX).equals(b.subarray(PREFIX))).toBe(false);
  });
});

describe('AgeStore: what lies in the store', () => {
  it('ends in .age, but for plain objects; others are not listed', async () => {
    const inner = new MemoryStore();
    const store = wrap(inner);
    await store.put('secret', Buffer.from('x'));
    await store.put('plain/note', Buffer.from('seen'));
    await inner.put('stray', Buffer.from('no age file'));
    expect(await listed(inner)).toEqual(['plain/note', 'secret.age', 'stray']);
    expect(await listed(store)).toEqual(['plain/note', 'secret']);
    expect((await inner.get('plain/note')).toString()).toBe('seen');
    expect((await store.get('plain/note')).toString()).toBe('seen');
    await expect(store.get('stray')).rejects.toThrow(code('STORE_NOT_FOUND'));
  });

  it('cannot be read with the public half alone; all else works', async () => {
    const inner = new MemoryStore();
    const writer = new AgeStore(inner, { recipient, isPlain, isImmutable });
    await writer.put('object', Buffer.from('text'), { ifAbsent: true });
    await expect(writer.put('object', Buffer.from('x'), { ifAbsent: true })).rejects.toThrow(
      code('STORE_EXISTS'),
    );
    await expect(writer.get('object')).rejects.toThrow(code('WRONG_KEY'));
    await expect(writer.get('object', { range: { offset: 0, length: 1 } })).rejects.toThrow(
      code('WRONG_KEY'),
    );
    expect(await writer.stat('object')).toMatchObject({ key: 'object', size: 4 });
    expect(await listed(writer)).toEqual(['object']);
    expect((await wrap(inner).get('object')).toString()).toBe('text');
    await writer.delete('object');
    expect(await listed(inner)).toEqual([]);
  });

  it('for another identity is INTEGRITY', async () => {
    const inner = new MemoryStore();
    await inner.put(
      'object.age',
      age(['-r', await recipientOf(await generateIdentity())], Buffer.from('theirs')),
    );
    await expect(wrap(inner).get('object')).rejects.toThrow(code('INTEGRITY'));
  });
});

describe('AgeStore: ranges', () => {
  it('are exactly their bytes, wherever they begin and end', async () => {
    const inner = new MemoryStore();
    const store = wrap(inner);
    const bytes = randomBytes(3 * CHUNK + 1234);
    await store.put('object', bytes);
    await store.put('fixed/object', bytes);
    const near = (edge: number) => fc.integer({ min: Math.max(0, edge - 20), max: edge + 20 });
    const place = fc.oneof(
      fc.integer({ min: 0, max: bytes.length }),
      ...[0, CHUNK, 2 * CHUNK, 3 * CHUNK, bytes.length].map(near),
    );
    const key = fc.constantFrom('object', 'fixed/object');
    await fc.assert(
      fc.asyncProperty(key, place, place, async (key, a, b) => {
        const [offset, end] = [Math.min(a, b), Math.max(a, b)];
        const part = store.get(key, { range: { offset, length: end - offset } });
        if (end > bytes.length) await expect(part).rejects.toThrow(code('INTEGRITY'));
        else expect((await part).equals(bytes.subarray(offset, end))).toBe(true);
      }),
      { numRuns: 300 },
    );
  });

  it('fetch the chunks that they lie in, and the header of an immutable object once', async () => {
    const inner = new CountingStore();
    const store = wrap(inner);
    await store.put('fixed/object', randomBytes(100 * CHUNK));
    const ranges = [3, 50, 99].map((chunk) => ({ offset: chunk * CHUNK + 10, length: 100 }));
    await Promise.all(ranges.map((range) => store.get('fixed/object', { range })));
    await store.get('fixed/object', { range: { offset: CHUNK - 1, length: 2 } });
    const lengths = inner.gets.map(({ length }) => length);
    expect(lengths).toEqual([PREFIX, STORED_CHUNK, STORED_CHUNK, STORED_CHUNK, 2 * STORED_CHUNK]);
    expect(inner.stats).toBe(1);
    await store.put('object', randomBytes(10));
    await store.get('object', { range: { offset: 0, length: 10 } });
    await store.put('object', randomBytes(20));
    expect((await store.get('object', { range: { offset: 0, length: 20 } })).length).toBe(20);
  });
});

describe('AgeStore: damage is INTEGRITY, never other bytes', () => {
  const size = 3 * CHUNK + 500;
  const chunk = (stored: Buffer, i: number) =>
    stored.subarray(PREFIX + i * STORED_CHUNK, PREFIX + (i + 1) * STORED_CHUNK);
  const damages: [string, (stored: Buffer, other: Buffer) => Buffer][] = [
    ['the last chunk cut off', (s) => s.subarray(0, PREFIX + 3 * STORED_CHUNK)],
    ['two chunks cut off', (s) => s.subarray(0, PREFIX + 2 * STORED_CHUNK)],
    ['all chunks cut off', (s) => s.subarray(0, PREFIX)],
    ['one byte cut off', (s) => s.subarray(0, -1)],
    ['cut off in a tag', (s) => s.subarray(0, PREFIX + STORED_CHUNK + 8)],
    ['cut off in the header', (s) => s.subarray(0, 100)],
    ['nothing left', (s) => s.subarray(0, 0)],
    ['a byte more', (s) => Buffer.concat([s, Buffer.alloc(1)])],
    ['a chunk more', (s) => Buffer.concat([s.subarray(0, PREFIX), chunk(s, 0), s.subarray(PREFIX)])],
    ['a chunk missing', (s) => Buffer.concat([s.subarray(0, PREFIX), s.subarray(PREFIX + STORED_CHUNK)])],
    [
      'two chunks swapped',
      (s) => Buffer.concat([s.subarray(0, PREFIX), chunk(s, 1), chunk(s, 0), chunk(s, 2), chunk(s, 3)]),
    ],
    [
      "another object's chunk",
      (s, o) =>
        Buffer.concat([
          s.subarray(0, PREFIX),
          chunk(s, 0),
          chunk(o, 1),
          s.subarray(PREFIX + 2 * STORED_CHUNK),
        ]),
    ],
    ["another object's header", (s, o) => Buffer.concat([o.subarray(0, PREFIX), s.subarray(PREFIX)])],
  ];

  it.each(damages)('%s', async (_, damage) => {
    const inner = new MemoryStore();
    const store = wrap(inner);
    await store.put('object', randomBytes(size));
    await store.put('other', randomBytes(size));
    await inner.put('object.age', damage(await inner.get('object.age'), await inner.get('other.age')));
    await expect(store.get('object')).rejects.toThrow(code('INTEGRITY'));
    const end = { offset: size - 1, length: 1 };
    const middle = { offset: CHUNK + 1, length: 2 * CHUNK };
    // A range shows what hits it; whichever is read, no wrong byte comes out.
    const results = await Promise.allSettled([end, middle].map((range) => store.get('object', { range })));
    expect(results.some(({ status }) => status === 'rejected')).toBe(true);
    for (const result of results)
      if (result.status === 'rejected') expect(result.reason).toMatchObject({ code: 'INTEGRITY' });
  });

  it('a flipped bit anywhere', async () => {
    const inner = new MemoryStore();
    const store = wrap(inner);
    await store.put('object', randomBytes(CHUNK + 100));
    const good = await inner.get('object.age');
    const places = [...Array(PREFIX).keys(), PREFIX, PREFIX + CHUNK, PREFIX + STORED_CHUNK, good.length - 1];
    for (const at of places) {
      const bad = Buffer.from(good);
      bad[at] = (bad[at] as number) ^ 1;
      await inner.put('object.age', bad);
      await expect(store.get('object'), String(at)).rejects.toThrow(code('INTEGRITY'));
    }
  });

  it('an object cut short is still listed, so that a look at it says what is wrong', async () => {
    const inner = new MemoryStore();
    await inner.put('object.age', Buffer.alloc(50));
    expect(await listed(wrap(inner))).toEqual(['object']);
    await expect(wrap(inner).stat('object')).rejects.toThrow(code('INTEGRITY'));
  });
});

describe('sizes', () => {
  it('plain and stored belong together for every length, and lengths in between are none', () => {
    const stored = new Map(Array.from({ length: 2 * CHUNK + 40 }, (_, size) => [storedSize(size), size]));
    for (let length = 0; length <= storedSize(2 * CHUNK + 39); length++)
      expect(plainSize(length)).toBe(stored.get(length));
  });
});
