import { execFileSync } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { decodeManifest, encodeManifest, type Manifest } from '../../src/repository/manifest.ts';
import { checkSignature, signedBytes, signManifest, writerOf } from '../../src/repository/signature.ts';
import { loadWriterKey } from '../../src/repository/writer-key.ts';
import { tempDir } from '../support/temp.ts';

const { privateKey } = generateKeyPairSync('ed25519');
const code = (wanted: string) => expect.objectContaining({ code: wanted });

function manifest(): Manifest {
  const time = '2026-11-20T20:30:00.000Z';
  return {
    format: 1,
    id: '20261120T203000Z-4f9c2a',
    source: { host: 'alpha', kind: 'container', name: 'db', image: 'postgres:16' },
    engine: { id: 'e', name: 'alpha', version: '20.10' },
    started: time,
    finished: time,
    parents: [],
    status: 'partial',
    warnings: [{ message: 'quotes " and \\ and\nlines ü €', path: './a' }],
    tags: { z: 'last', a: 'first' },
    tool: 'volbak test',
    helperTar: 'tar (GNU tar) 1.34',
    leftOut: [{ type: 'bind', destination: '/etc/x' }],
    volumes: [
      {
        name: 'data',
        anonymous: false,
        destinations: ['/b', '/a'],
        driver: 'local',
        driverOpts: {},
        maskedOpts: [],
        labels: { 'x.y': 'ü' },
        fsType: 'xfs',
        listed: time,
        entries: 5,
        sockets: 0,
        excluded: 0,
        tarBytes: 9_007_199_254_740_991,
        readBytes: 1,
        newBytes: 2,
        storedBytes: 3,
        frames: 4,
        digest: 'd'.repeat(64),
        index: [['a'.repeat(64), 31, 100, 200, 'b'.repeat(64)]],
        segments: ['a'.repeat(64)],
        suspects: [],
      },
    ],
  };
}

/** A copy with one volume's fields changed. */
const withVolume = (m: Manifest, change: object): Manifest => ({
  ...m,
  volumes: m.volumes.map((volume) => ({ ...volume, ...change })),
});

describe('signatures of manifests', () => {
  it('come back with the manifest and name the writer', async () => {
    const signed = signManifest(manifest(), privateKey);
    const read = await decodeManifest(Buffer.from(await encodeManifest(signed)), 'x');
    expect(read).toEqual(signed);
    expect(checkSignature(read)).toBe(writerOf(privateKey));
    expect(checkSignature(manifest())).toBeUndefined();
  });

  it('stay valid where only the place of frames changes, as a copy and a prune do', () => {
    const signed = signManifest(manifest(), privateKey);
    const moved = withVolume(signed, {
      index: [['c'.repeat(64), 31, 1, 2, 'b'.repeat(64)]],
      segments: ['c'.repeat(64)],
      frames: 9,
      newBytes: 0,
      storedBytes: 0,
    });
    expect(checkSignature(moved)).toBe(writerOf(privateKey));
  });

  const changes: [string, (m: Manifest) => Manifest][] = [
    ['the id', (m) => ({ ...m, id: '20261120T203000Z-000000' })],
    ['the source', (m) => ({ ...m, source: { ...m.source, name: 'other' } })],
    ['the status', (m) => ({ ...m, status: 'complete' })],
    ['a warning', (m) => ({ ...m, warnings: [] })],
    ['a tag', (m) => ({ ...m, tags: { ...m.tags, a: 'x' } })],
    ['a digest', (m) => withVolume(m, { digest: 'e'.repeat(64) })],
    ['a label', (m) => withVolume(m, { labels: {} })],
    ['the suspects', (m) => withVolume(m, { suspects: ['YQ=='] })],
    ['a volume', (m) => ({ ...m, volumes: [] })],
    ['a field that this volbak does not know', (m) => ({ ...m, later: 1 }) as Manifest],
  ];
  it.each(changes)('do not fit any more where %s changed: INTEGRITY', async (_, change) => {
    const forged = change(signManifest(manifest(), privateKey));
    const read = decodeManifest(Buffer.from(await encodeManifest(forged)), 'x');
    await expect(read).rejects.toThrow(code('INTEGRITY'));
    await expect(read).rejects.toThrow(/signature does not fit/);
  });

  it('of a later volbak with more fields are checked over all of them, and kept', async () => {
    const later = signManifest({ ...manifest(), later: { b: 1, a: [true, null] } } as Manifest, privateKey);
    const read = await decodeManifest(Buffer.from(await encodeManifest(later)), 'x');
    expect(read).toEqual(later);
  });

  it('are checked by jq and openssl alone, as docs/format.md says', async () => {
    const dir = await tempDir();
    const signed = signManifest(manifest(), privateKey);
    writeFileSync(`${dir}/manifest.json`, JSON.stringify(signed));
    const page = readFileSync(path.join(import.meta.dirname, '../../docs/format.md'), 'utf8');
    const script = /^### Signature$[\s\S]*?^```sh\n([\s\S]*?)^```$/m.exec(page)?.[1] as string;
    const out = execFileSync('sh', ['-euc', script], { cwd: dir, encoding: 'utf8' });
    expect(out).toContain('Signature Verified Successfully');
    expect(execFileSync('cat', [`${dir}/signed`]).equals(signedBytes(signed))).toBe(true);
  });
});

describe("this machine's writer key", () => {
  it('is made once, readable by its owner alone, also where several runs begin at once', async () => {
    const state = `${await tempDir()}/state`;
    const keys = await Promise.all(Array.from({ length: 8 }, () => loadWriterKey(state)));
    expect(new Set(keys.map(writerOf)).size).toBe(1);
    expect(writerOf(await loadWriterKey(state))).toBe(writerOf(keys[0]!));
    expect(statSync(`${state}/writer-key.pem`).mode & 0o777).toBe(0o600);
    expect(await readdir(state)).toEqual(['writer-key.pem']);
  });

  it('is CONFIG where it is damaged or cannot be kept, and never replaced', async () => {
    const state = await tempDir();
    writeFileSync(`${state}/writer-key.pem`, 'not a key');
    await expect(loadWriterKey(state)).rejects.toThrow(code('CONFIG'));
    await expect(loadWriterKey('/dev/null/state')).rejects.toThrow(code('CONFIG'));
    expect(existsSync(`${state}/writer-key.pem`)).toBe(true);
  });
});
