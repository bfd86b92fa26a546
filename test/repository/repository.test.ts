import { execFileSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { loadCodec } from '../../src/codec/zstd.ts';
import { initRepository, readDescriptor } from '../../src/repository/descriptor.ts';
import { DESCRIPTOR, manifestKey } from '../../src/repository/keys.ts';
import {
  decodeManifest,
  encodeManifest,
  frameContentSize,
  type Manifest,
} from '../../src/repository/manifest.ts';
import { Repository } from '../../src/repository/repository.ts';
import { LocalStore } from '../../src/store/local.ts';
import { MemoryStore } from '../../src/store/memory.ts';
import { tempDir } from '../support/temp.ts';

const NOW = new Date('2026-11-20T20:30:00Z');
const code = (wanted: string) => expect.objectContaining({ code: wanted });

function manifest(id = '20261120T203000Z-4f9c2a', name = 'db'): Manifest {
  return {
    format: 1,
    id,
    source: { host: 'alpha', kind: 'container', name, image: 'postgres:16' },
    engine: { id: 'e', name: 'alpha', version: '20.10' },
    started: NOW.toISOString(),
    finished: NOW.toISOString(),
    parents: [],
    status: 'complete',
    warnings: [{ message: 'something', volume: 'data', path: './a' }],
    tags: { why: 'test' },
    tool: 'volbak 0.1.0',
    helperTar: 'tar (GNU tar) 1.34',
    leftOut: [{ type: 'bind', destination: '/etc/x' }],
    volumes: [
      {
        name: 'data',
        anonymous: false,
        destinations: ['/var/lib/data'],
        driver: 'local',
        driverOpts: {},
        maskedOpts: [],
        labels: { 'a.b': 'ü\n' },
        fsType: 'ext2/ext3',
        listed: NOW.toISOString(),
        entries: 5,
        sockets: 0,
        excluded: 0,
        tarBytes: 10_000,
        readBytes: 10_000,
        newBytes: 1,
        storedBytes: 1,
        frames: 3,
        digest: 'd'.repeat(64),
        index: [['a'.repeat(64), 31, 100, 200, 'b'.repeat(64)]],
        segments: ['a'.repeat(64)],
        suspects: [],
      },
    ],
  };
}

async function stored(value: unknown): Promise<Buffer> {
  const raw = Buffer.from(typeof value === 'string' ? value : JSON.stringify(value));
  return Buffer.from((await loadCodec()).compress(raw));
}

describe('manifests', () => {
  it('stay as they are while others are encoded: the store may still be writing them', async () => {
    const first = await encodeManifest(manifest());
    const before = Buffer.from(first);
    await encodeManifest({ ...manifest(), tags: { other: 'x'.repeat(5000) } });
    expect(before.equals(first)).toBe(true);
  });

  it('come back as they were, and zstd and JSON alone read them', async () => {
    const bytes = Buffer.from(await encodeManifest(manifest()));
    expect(await decodeManifest(bytes, 'x')).toEqual(manifest());
    expect(JSON.parse(execFileSync('zstd', ['-dc'], { input: bytes }).toString())).toEqual(manifest());
  });

  it('may be of another zstd, and of one without native zstd', async () => {
    const raw = Buffer.from(JSON.stringify(manifest()));
    const byZstd = execFileSync('zstd', ['-19', '-c', `--stream-size=${raw.length}`], { input: raw });
    expect(await decodeManifest(byZstd, 'x')).toEqual(manifest());
    const byWasm = Buffer.from((await loadCodec('wasm')).compress(raw));
    expect(await decodeManifest(byWasm, 'x')).toEqual(manifest());
  });

  it('are INTEGRITY where a field is wrong', async () => {
    const good = manifest();
    const [v] = good.volumes as [Manifest['volumes'][0]];
    const wrong: unknown[] = [
      null,
      [],
      'text',
      {},
      { ...good, format: 2 },
      { ...good, id: '../../x' },
      { ...good, status: 'fine' },
      { ...good, source: { ...good.source, kind: 'bind' } },
      { ...good, volumes: [{ ...v, name: '' }] },
      { ...good, volumes: [{ ...v, digest: 'x' }] },
      { ...good, volumes: [{ ...v, index: [['a'.repeat(64), -1, 1, 1, 'b'.repeat(64)]] }] },
      { ...good, volumes: [{ ...v, segments: ['../x'] }] },
      { ...good, volumes: [{ ...v, tarBytes: -1 }] },
      { ...good, tags: { a: 1 } },
    ];
    for (const value of wrong) {
      const result = decodeManifest(await stored(value), 'snapshot x');
      await expect(result, JSON.stringify(value)?.slice(0, 80)).rejects.toThrow(code('INTEGRITY'));
    }
    await expect(decodeManifest(await stored('{"format":1'), 'x')).rejects.toThrow(code('INTEGRITY'));
  });

  it('are INTEGRITY where a byte was changed or cut off', async () => {
    const bytes = Buffer.from(await encodeManifest(manifest()));
    for (let length = 0; length < bytes.length; length++) {
      await expect(decodeManifest(bytes.subarray(0, length), 'x'), `${length}`).rejects.toThrow(
        code('INTEGRITY'),
      );
    }
    for (let at = 0; at < bytes.length; at++) {
      const copy = Buffer.from(bytes);
      copy[at] = (copy[at] as number) ^ 0x55;
      const result = await decodeManifest(copy, 'x').catch((error) => {
        expect(error).toMatchObject({ code: 'INTEGRITY' });
      });
      if (result) expect(result).toEqual(manifest());
    }
  });

  it('are refused where they say that they unpack to more than 256 MiB, or do not say', async () => {
    const bomb = execFileSync('bash', ['-c', 'head -c 300M /dev/zero | zstd -1 -c --stream-size=314572800'], {
      maxBuffer: 1 << 24,
    });
    await expect(decodeManifest(bomb, 'x')).rejects.toThrow('not a zstd frame of a sane size');
    const unsized = execFileSync('zstd', ['-c'], { input: JSON.stringify(manifest()) });
    await expect(decodeManifest(unsized, 'x')).rejects.toThrow(code('INTEGRITY'));
  });

  it('state their size in every form of a zstd header', async () => {
    for (const size of [18, 255, 256, 300, 65_791, 65_792, 1_000_000]) {
      for (const name of ['node', 'wasm'] as const) {
        const frame = Buffer.from((await loadCodec(name)).compress(Buffer.alloc(size, 'abc')));
        expect(frameContentSize(Buffer.concat([frame, Buffer.alloc(18)])), `${size} ${name}`).toBe(size);
      }
    }
    expect(frameContentSize(Buffer.alloc(30))).toBeUndefined();
  });
});

describe('the descriptor', () => {
  it('is made once and then found', async () => {
    const store = new MemoryStore();
    expect(await readDescriptor(store)).toBeUndefined();
    const first = await initRepository(store, NOW);
    expect(first.created).toBe(true);
    expect(first.descriptor).toMatchObject({ format: 1, cut: 1, created: NOW.toISOString() });
    const second = await initRepository(store, new Date());
    expect(second).toEqual({ descriptor: first.descriptor, created: false });
    expect(await readDescriptor(store)).toEqual(first.descriptor);
  });

  it('ends with one id where many make a repository at once', async () => {
    for (const store of [new MemoryStore(), new LocalStore(`${await tempDir()}/new`)]) {
      const results = await Promise.all(Array.from({ length: 8 }, () => initRepository(store, NOW)));
      expect(new Set(results.map((r) => r.descriptor.id)).size).toBe(1);
      expect(results.filter((r) => r.created)).toHaveLength(1);
    }
  });

  it('of another init between the look and the list is found, too', async () => {
    let theirs: Awaited<ReturnType<typeof initRepository>> | undefined;
    class SlowStore extends MemoryStore {
      override async get(key: string): Promise<Buffer> {
        try {
          return await super.get(key);
        } finally {
          // Another init comes between this look and what follows it.
          if (!busy) {
            busy = true;
            theirs = await initRepository(slow, NOW);
          }
        }
      }
    }
    let busy = false;
    const slow = new SlowStore();
    const mine = await initRepository(slow, NOW);
    expect(mine).toEqual({ descriptor: theirs?.descriptor, created: false });
  });

  it('is not made where something else lies', async () => {
    const store = new MemoryStore();
    await store.put('photo.jpg', Buffer.from('x'));
    await expect(initRepository(store, NOW)).rejects.toThrow(code('REPOSITORY_INVALID'));
    await expect(store.get(DESCRIPTOR)).rejects.toThrow(code('STORE_NOT_FOUND'));
  });

  it.each([
    ['another format', { format: 2, id: crypto.randomUUID(), created: 'x', cut: 1, encryption: null }],
    ['another format with other fields', { format: 2, name: 'x' }],
    ['another way to cut', { format: 1, id: crypto.randomUUID(), created: 'x', cut: 2, encryption: null }],
    ['encryption', { format: 1, id: crypto.randomUUID(), created: 'x', cut: 1, encryption: { to: 'age1…' } }],
  ])('with %s asks for a newer volbak', async (_, value) => {
    const store = new MemoryStore();
    await store.put(DESCRIPTOR, Buffer.from(JSON.stringify(value)));
    await expect(readDescriptor(store)).rejects.toThrow(
      expect.objectContaining({ code: 'REPOSITORY_INVALID', hint: 'Use a newer volbak.' }),
    );
  });

  it.each(['', 'text', '[]', 'null', '{}', '{"format":1}', '{"format":"1"}'])(
    'of %j is damaged',
    async (text) => {
      const store = new MemoryStore();
      await store.put(DESCRIPTOR, Buffer.from(text));
      await expect(readDescriptor(store)).rejects.toThrow(code('REPOSITORY_INVALID'));
      await expect(initRepository(store, NOW)).rejects.toThrow(code('REPOSITORY_INVALID'));
    },
  );
});

describe('Repository', () => {
  it('lists snapshots by time, whatever their sources, and ignores other objects', async () => {
    const { repository } = await Repository.openOrInit(new MemoryStore(), NOW);
    const ids = ['20261120T203000Z-ffffff', '20261119T203000Z-000000', '20261121T203000Z-111111'];
    for (const [i, id] of ids.entries()) await repository.commit(manifest(id, `db${i}`));
    await repository.store.put('snapshots/alpha/container/db0/notes.txt', Buffer.from('x'));
    const names = await repository.snapshotNames();
    expect(names.map((n) => n.id)).toEqual([...ids].sort());
    const manifests: Manifest[] = [];
    for await (const m of repository.manifests(names)) manifests.push(m);
    expect(manifests.map((m) => m.source.name)).toEqual(['db1', 'db0', 'db2']);
  });

  it('refuses a manifest that lies under the key of another snapshot', async () => {
    const { repository } = await Repository.openOrInit(new MemoryStore(), NOW);
    const { source } = manifest();
    const bytes = await encodeManifest(manifest());
    for (const [id, name] of [
      ['20261120T203000Z-000000', 'db'],
      [manifest().id, 'other'],
    ] as const) {
      await repository.store.put(manifestKey({ ...source, name }, id), bytes);
      await expect(repository.manifest({ id, source: { ...source, name } })).rejects.toThrow(
        code('INTEGRITY'),
      );
    }
  });

  it('is REPOSITORY_MISSING where there is none, and SNAPSHOT_NOT_FOUND where a snapshot is gone', async () => {
    await expect(Repository.open(new MemoryStore())).rejects.toThrow(code('REPOSITORY_MISSING'));
    const { repository } = await Repository.openOrInit(new MemoryStore(), NOW);
    await expect(repository.manifest(manifest())).rejects.toThrow(code('SNAPSHOT_NOT_FOUND'));
  });
});
