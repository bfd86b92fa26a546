import { createHash } from 'node:crypto';
import { createFramePool } from '../../src/codec/pool.ts';
import { FrameTable } from '../../src/core/frame-table.ts';
import type { IndexMember } from '../../src/core/member.ts';
import { commitManifest } from '../../src/jobs/commit.ts';
import { FrameWriter } from '../../src/repository/frame-writer.ts';
import { readFrameRefs, readTar } from '../../src/repository/index-reader.ts';
import { type SnapshotName, type Source, snapshotId } from '../../src/repository/keys.ts';
import type { Manifest } from '../../src/repository/manifest.ts';
import type { Repository } from '../../src/repository/repository.ts';
import { Session, usableSegments } from '../../src/repository/session.ts';
import { VolumeIndex } from '../../src/repository/volume-index.ts';
import { VolumeDigest } from '../../src/tar/digest.ts';
import { pathHash } from '../../src/tar/names.ts';

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

export interface TinyBackup {
  repository: Repository;
  source: Source;
  /** Content by name; each file is a frame of its own. */
  files: Record<string, Uint8Array>;
  now(): number;
  /** Six hex digits that nothing else has. */
  random: string;
  parent?: SnapshotName;
  /** Manifests of runs that ended before they had a snapshot: their frames are used where they stand. */
  pending?: Manifest[];
  status?: Manifest['status'];
  tags?: Manifest['tags'];
  /** Called between frames: a slow backup waits here. */
  pace?(): Promise<void>;
}

const ROOT: IndexMember = {
  path: '.',
  type: 'dir',
  size: 0,
  mode: 0o755,
  uid: 0,
  gid: 0,
  mtime: '1700000000.000000000',
  span: 512,
};

/** What a backup does, without an engine: the same session, frames, index and commit; a "tar" of made-up headers. */
export async function tinyBackup(options: TinyBackup): Promise<Manifest> {
  const { repository, source, files, now, parent, pace = async () => {} } = options;
  const { store } = repository;
  const started = new Date(now());
  const id = snapshotId(started, options.random);
  const table = FrameTable.create(4096);
  const pool = createFramePool({ table: table.shared });
  const before = parent && (await repository.manifest(parent));
  const session = await Session.begin({ store, kind: 'backup', uses: parent ? [parent] : [], now });
  try {
    const writer = new FrameWriter({ store, pool, table });
    const usable = await usableSegments(store);
    const known = [...(options.pending ?? []), ...(before ? [before] : [])].flatMap(({ volumes }) => volumes);
    for (const { index } of known) {
      if (!index.every(([segment]) => usable.has(segment))) continue;
      for (const ref of index) if (usable.has(ref[0])) writer.addKnown(ref);
      for await (const ref of readFrameRefs(index, { store, pool }))
        if (usable.has(ref[0])) writer.addKnown(ref);
    }
    const digest = new VolumeDigest();
    const failures: unknown[] = [];
    const index = new VolumeIndex({
      volume: 'data',
      writer,
      pathHash,
      onMember: (member) => digest.add(member),
      onFailure: (error) => failures.push(error),
    });
    const add = async (raw: Buffer, member?: IndexMember) => {
      const [handle] = await writer.write({ bytes: raw, frames: Uint32Array.of(0, raw.length) });
      if (handle !== undefined) index.lines.frame(handle);
      if (member) index.lines.member({ member, ready: true });
      await pace();
    };
    await add(Buffer.alloc(512, 1), ROOT);
    for (const [name, content] of Object.entries(files).sort(([a], [b]) => (a < b ? -1 : 1)))
      await add(tarOf(content), memberOf(name, content));
    await add(Buffer.alloc(1024));
    const refs = await index.finish();
    if (failures.length > 0) throw failures[0];
    await writer.flush();
    const manifest: Manifest = {
      ...blankManifest(id, source, started),
      status: options.status ?? 'complete',
      tags: options.tags ?? {},
      parents: parent ? [parent.id] : [],
    };
    const [volume] = manifest.volumes as [Manifest['volumes'][0]];
    volume.entries = index.lines.entries;
    volume.tarBytes = index.lines.tarBytes;
    volume.frames = Object.keys(files).length + 2;
    volume.newBytes = writer.newBytes;
    volume.digest = digest.digest();
    volume.index = refs;
    volume.segments = index.segments(refs);
    await commitManifest(repository, manifest, session, new AbortController().signal);
    return manifest;
  } finally {
    await session.end();
    await pool.close();
  }
}

function tarOf(content: Uint8Array): Buffer {
  return Buffer.concat([Buffer.alloc(512, 2), content, Buffer.alloc((512 - (content.length % 512)) % 512)]);
}

function memberOf(name: string, content: Uint8Array): IndexMember {
  return {
    ...ROOT,
    path: `./${name}`,
    type: 'file',
    size: content.length,
    mode: 0o644,
    span: tarOf(content).length,
    sha256: sha256(content),
  };
}

/** A manifest of one volume without anything in it. */
export function blankManifest(id: string, source: Source, started: Date): Manifest {
  const time = started.toISOString();
  return {
    format: 1,
    id,
    source: { ...source },
    engine: { id: 'engine', name: source.host, version: '0' },
    started: time,
    finished: time,
    parents: [],
    status: 'complete',
    warnings: [],
    tags: {},
    tool: 'test',
    helperTar: 'test',
    leftOut: [],
    volumes: [
      {
        name: 'data',
        anonymous: false,
        destinations: [],
        driver: 'local',
        driverOpts: {},
        maskedOpts: [],
        labels: {},
        fsType: 'ext2/ext3',
        listed: time,
        entries: 0,
        sockets: 0,
        excluded: 0,
        tarBytes: 0,
        readBytes: 0,
        newBytes: 0,
        storedBytes: 0,
        frames: 0,
        digest: '0'.repeat(64),
        index: [],
        segments: [],
        suspects: [],
      },
    ],
  };
}

/** SHA-256 of the tar that a backup of these files makes. */
export function expectedTar(files: Record<string, Uint8Array>): string {
  const parts = Object.entries(files)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([, content]) => tarOf(content));
  return sha256(Buffer.concat([Buffer.alloc(512, 1), ...parts, Buffer.alloc(1024)]));
}

/** SHA-256 of the tar that a snapshot gives back. Raises what a restore would. */
export async function restoredTar(repository: Repository, name: SnapshotName): Promise<string> {
  const pool = createFramePool();
  try {
    const manifest = await repository.manifest(name);
    const hash = createHash('sha256');
    for (const { index } of manifest.volumes)
      for await (const bytes of readTar(index, { store: repository.store, pool })) hash.update(bytes);
    return hash.digest('hex');
  } finally {
    await pool.close();
  }
}

/** Bytes that do not compress and that are the same each time. */
export function noise(seed: number, size: number): Buffer {
  const out = Buffer.alloc(size);
  let x = Math.imul(seed + 1, 0x9e3779b1) | 1;
  for (let i = 0; i < size; i++) {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    out[i] = x;
  }
  return out;
}
