import { execFile } from 'node:child_process';
import { cp, open, rm, stat, truncate } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { beforeAll, beforeEach, expect, test } from 'vitest';
import { filesBelow, manifests, type Scene, savedScene, volumes } from '../../support/scene.ts';
import { tempDir } from '../../support/temp.ts';
import { type Json, volbak } from '../../support/volbak.ts';

let scene: Scene;
let volume: string;
let repository: string;

beforeAll(async () => {
  const script = 'head -c 3M /dev/urandom >random; echo small >small; mkdir d; echo deep >d/deep';
  ({ scene, volume } = await savedScene(script));
});

beforeEach(async () => {
  repository = path.join(await tempDir(), 'repo');
  await cp(scene.repository, repository, { recursive: true });
});

const volbakAt = (...args: string[]) => volbak(['-H', scene.host, '--repo', repository, ...args]);

/** As it lies there: zstd around JSON. */
async function manifestOf(place: string): Promise<Json> {
  const file = path.join(place, 'snapshots', (await manifests(place))[0] ?? '');
  return JSON.parse((await promisify(execFile)('zstd', ['-dcq', file])).stdout);
}

async function largestFile(): Promise<string> {
  const sized = await Promise.all(
    (await filesBelow(repository)).map(async (file) => ({ file, size: (await stat(file)).size })),
  );
  return sized.sort((a, b) => b.size - a.size)[0]?.file ?? '';
}

async function flip(file: string, position: number): Promise<void> {
  const handle = await open(file, 'r+');
  const byte = Buffer.alloc(1);
  await handle.read(byte, 0, 1, position);
  byte[0] = (byte[0] ?? 0) ^ 0x10;
  await handle.write(byte, 0, 1, position);
  await handle.close();
}

/** verify finds it, says which files it hits, and a restore neither gives damaged files out nor leaves a volume. */
async function expectFound(hit?: string): Promise<void> {
  const text = await volbakAt('verify');
  expect(text.stdout).toContain('DAMAGED: ');
  expect(text.exit).toBe(40);
  const { json, exit } = await volbakAt('verify', '--json');
  const summary = json.at(-1);
  expect(summary).toMatchObject({ event: 'summary', command: 'verify', exit: 40 });
  expect(summary.errors.length).toBeGreaterThan(0);
  expect(exit).toBe(40);
  if (hit !== undefined) expect(summary.errors.flatMap((e: Json) => e.paths ?? [])).toContain(hit);
  const target = scene.name('restored');
  const restored = await volbakAt('restore', volume, '--to-volume', target);
  expect([31, 40], restored.stderr).toContain(restored.exit);
  expect(await volumes(scene.host, target)).toEqual([]);
}

test('verify of a whole repository: exit 0, with how much it looked at', async () => {
  const { exit, json } = await volbakAt('verify', '--json');
  expect(json.at(-1)).toMatchObject({ event: 'summary', command: 'verify', exit: 0, errors: [] });
  expect(json.at(-1).segments).toBeGreaterThan(0);
  expect(json.at(-1).frames).toBeGreaterThan(0);
  expect(json.at(-1).bytes).toBeGreaterThan(3_000_000);
  expect(exit).toBe(0);
});

test('one flipped bit in a segment is found, and the file it hits is named', async () => {
  const file = await largestFile();
  await flip(file, Math.floor((await stat(file)).size / 2));
  await expectFound('./random');
});

test('a deleted segment is found, and the file it hits is named; --quick finds it too', async () => {
  const manifest = await manifestOf(repository);
  expect(manifest.volumes[0].segments.length).toBeGreaterThan(0);
  await rm(await largestFile());
  expect((await volbakAt('verify', '--quick')).exit).toBe(40);
  await expectFound();
});

test('a truncated segment is found', async () => {
  const file = await largestFile();
  await truncate(file, Math.floor((await stat(file)).size / 2));
  await expectFound();
});

test('a damaged index is found', async () => {
  const manifest = await manifestOf(repository);
  const [segment, offset, length] = manifest.volumes[0].index[0];
  const file = (await filesBelow(repository)).find((name) => path.basename(name).includes(segment)) ?? '';
  await flip(file, offset + Math.floor(length / 2));
  await expectFound();
});
