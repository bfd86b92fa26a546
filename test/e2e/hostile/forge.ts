import { execFile } from 'node:child_process';
import { createHash, generateKeyPairSync } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import zlib from 'node:zlib';
import { memberLine, parseIndexLine } from '../../../src/repository/index-lines.ts';
import type { Manifest } from '../../../src/repository/manifest.ts';
import { segmentHeader } from '../../../src/repository/segments.ts';
import { signManifest } from '../../../src/repository/signature.ts';
import { TarScanner } from '../../../src/tar/scanner.ts';
import { manifests } from '../../support/scene.ts';
import { bash } from '../../support/site.ts';
import type { Json } from '../../support/volbak.ts';

/** The newest manifest of a repository on disk. */
export async function readManifest(repo: string): Promise<{ file: string; manifest: Json }> {
  const newest = (await manifests(repo))
    .sort((a, b) => (path.basename(a) < path.basename(b) ? -1 : 1))
    .at(-1);
  const file = path.join(repo, 'snapshots', newest ?? '');
  const { stdout } = await promisify(execFile)('zstd', ['-dcq', file], { maxBuffer: 2 ** 28 });
  return { file, manifest: JSON.parse(stdout) };
}

const compress = (bytes: Buffer) =>
  Buffer.from(
    zlib.zstdCompressSync(bytes, {
      pledgedSrcSize: bytes.length,
      params: { [zlib.constants.ZSTD_c_checksumFlag]: 1 },
    }),
  );

/** One that has not the shape of a manifest cannot be signed. */
function signedAnew({ signature: _, ...manifest }: Json): Json {
  const { privateKey } = generateKeyPairSync('ed25519');
  try {
    return signManifest(manifest as unknown as Manifest, privateKey);
  } catch {
    return manifest;
  }
}

/** Writes a manifest, with a signature of its own: whoever can write to a repository can do this. */
export async function writeManifest(file: string, manifest: Json): Promise<void> {
  const signed = signedAnew(manifest);
  await bash(`chmod u+w '${path.dirname(file)}'; rm -f '${file}'`);
  await writeFile(file, compress(Buffer.from(JSON.stringify(signed))));
}

const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');

/** Stores frames in a new segment; answers with their references. */
async function store(repo: string, frames: Buffer[]): Promise<Json[]> {
  let segment = segmentHeader();
  const places: [number, number, number, string][] = [];
  for (const raw of frames) {
    const stored = compress(raw);
    places.push([segment.length, stored.length, raw.length, sha256(raw)]);
    segment = Buffer.concat([segment, stored]);
  }
  const name = sha256(segment);
  await mkdir(path.join(repo, 'segments', name.slice(0, 2)), { recursive: true });
  await writeFile(path.join(repo, 'segments', name.slice(0, 2), `${name}.zst`), segment);
  return places.map(([offset, length, raw, sha]) => [name, offset, length, raw, sha]);
}

async function readFrame(repo: string, [segment, offset, length]: Json): Promise<Buffer> {
  const bytes = await readFile(path.join(repo, 'segments', segment.slice(0, 2), `${segment}.zst`));
  return zlib.zstdDecompressSync(bytes.subarray(offset, offset + length));
}

/** Lines of the index of a manifest's volume. */
export async function readIndexLines(repo: string, volume: Json): Promise<string[]> {
  const frames = await Promise.all(volume.index.map((ref: Json) => readFrame(repo, ref)));
  return Buffer.concat(frames).toString().trimEnd().split('\n');
}

/** Gives a volume of a manifest another index. */
export async function writeIndexLines(repo: string, volume: Json, lines: string[]): Promise<void> {
  volume.index = await store(repo, [Buffer.from(`${lines.join('\n')}\n`)]);
  const refs = lines.map(parseIndexLine).flatMap((line) => (line.kind === 'frame' ? [line.frame[0]] : []));
  volume.segments = [...new Set([...refs, ...volume.index.map((ref: Json) => ref[0])])].sort();
}

/** Gives a volume of a manifest another tar, as if it had been backed up so. */
export async function writeTar(repo: string, volume: Json, tar: Buffer): Promise<void> {
  const [ref] = await store(repo, [tar]);
  const lines = [JSON.stringify({ volume: volume.name, format: 1, cut: 1 }), JSON.stringify({ frame: ref })];
  const scanner = new TarScanner({
    member: (member, header) =>
      void lines.push(memberLine({ ...member, span: header.length + member.stored })),
    content() {},
    memberEnd() {},
    end() {},
  });
  scanner.push(tar);
  await writeIndexLines(repo, volume, lines);
  volume.tarBytes = tar.length;
  volume.entries = lines.length - 2;
}
