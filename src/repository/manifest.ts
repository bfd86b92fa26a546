import { z } from 'zod';
import { loadCodec } from '../codec/zstd.ts';
import { isVolbakError, VolbakError } from '../core/errors.ts';
import { type FrameRef, isFrameRef } from './frame-ref.ts';
import { checkSignature } from './signature.ts';

const frameRef = z.custom<FrameRef>(isFrameRef, 'not a frame reference');
const hex64 = z.string().regex(/^[0-9a-f]{64}$/);
const count = z.number().int().nonnegative();

const warning = z.object({
  /** What happened, for a person. */
  message: z.string(),
  /** Which volume, if one. */
  volume: z.string().optional(),
  /** Which member, printable, if one. */
  path: z.string().optional(),
});

const volume = z.object({
  name: z.string().min(1),
  /** True where Docker made up the name. */
  anonymous: z.boolean(),
  /** Where the container mounts it; empty for a volume backed up by itself. */
  destinations: z.array(z.string()),
  /** Set where the container mounts only a part of the volume. */
  subpath: z.string().optional(),
  /** A bind mount that was included on request. */
  bind: z.boolean().optional(),
  /** What a handler printed, kept as the one file of a volume that never was. */
  captured: z.boolean().optional(),
  driver: z.string(),
  driverOpts: z.record(z.string(), z.string()),
  /** Keys of options whose secrets were masked; asked for at restore. */
  maskedOpts: z.array(z.string()),
  labels: z.record(z.string(), z.string()),
  fsType: z.string(),
  /** When the listing began, by the clock of the engine's machine. */
  listed: z.string(),
  /** True where its file system keeps fractions of a second. */
  fineTimes: z.boolean().optional(),
  /** SHA-256 of its listing's records, where every later change shows in their times. */
  listing: z
    .string()
    .regex(/^[0-9a-f]{64}$/)
    .optional(),
  entries: count,
  /** Sockets left out. */
  sockets: count,
  /** Members left out by --exclude, if any. */
  excluded: count,
  tarBytes: count,
  readBytes: count,
  newBytes: count,
  storedBytes: count,
  /** Frames of the tar; sizes the tables of the next backup. */
  frames: count,
  digest: hex64,
  index: z.array(frameRef),
  segments: z.array(hex64),
  /** Members that tar complained about or that changed while read, in base64: never reused unread. */
  suspects: z.array(z.string()),
});

const schema = z.object({
  format: z.literal(1),
  id: z.string().regex(/^\d{8}T\d{6}Z-[0-9a-f]{6}$/),
  source: z.object({
    host: z.string(),
    kind: z.enum(['container', 'volume']),
    name: z.string(),
    containerId: z.string().optional(),
    image: z.string().optional(),
    imageId: z.string().optional(),
    composeProject: z.string().optional(),
    composeService: z.string().optional(),
  }),
  engine: z.object({ id: z.string(), name: z.string(), version: z.string() }),
  started: z.string(),
  finished: z.string(),
  /** Ids of the snapshots whose frames were known when this one began. */
  parents: z.array(z.string()),
  status: z.enum(['complete', 'partial']),
  warnings: z.array(warning),
  tags: z.record(z.string(), z.string()),
  tool: z.string(),
  helperTar: z.string(),
  /** Mounts of the container that are no volumes and were left out. */
  leftOut: z.array(z.object({ type: z.string(), destination: z.string(), source: z.string().optional() })),
  volumes: z.array(volume),
  /** Ed25519 over all but where frames lie; absent in manifests of volbak before it signed. */
  signature: z
    .object({
      /** The writer's public key, 32 bytes in base64. */
      key: z.string().regex(/^[A-Za-z0-9+/]{43}=$/),
      value: z.string().regex(/^[A-Za-z0-9+/]{86}==$/),
    })
    .optional(),
});

/** The commit point of a snapshot: docs/format.md describes each field. */
export type Manifest = z.infer<typeof schema>;
export type ManifestVolume = z.infer<typeof volume>;
export type ManifestWarning = z.infer<typeof warning>;

/** No manifest is larger than this when unpacked: a bomb, not a manifest. */
const MAX_MANIFEST = 256 * 1024 * 1024;

/** The stored form: one zstd frame of JSON. */
export async function encodeManifest(manifest: Manifest): Promise<Uint8Array> {
  const codec = await loadCodec();
  // A copy: what the codec gives is only valid until its next call, and the store takes its time.
  return Buffer.from(codec.compress(Buffer.from(JSON.stringify(manifest), 'utf8')));
}

/** A manifest out of plain JSON. Throws where it is none. */
export function parseManifest(json: Buffer): Manifest {
  return schema.parse(JSON.parse(json.toString('utf8')));
}

/** Reads a manifest that may come from anyone. `name` says which in errors. Raises INTEGRITY. */
export async function decodeManifest(stored: Buffer, name: string): Promise<Manifest> {
  const size = frameContentSize(stored);
  if (size === undefined || size > MAX_MANIFEST) {
    throw new VolbakError('INTEGRITY', `the manifest of ${name} is damaged: not a zstd frame of a sane size`);
  }
  try {
    const codec = await loadCodec();
    const raw = codec.decompress(stored, size);
    const value = JSON.parse(Buffer.from(raw.buffer, raw.byteOffset, raw.byteLength).toString('utf8'));
    schema.parse(value);
    // As it was written, with fields that a later volbak may add: they are signed, too, and a copy keeps them.
    checkSignature(value as Manifest);
    return value as Manifest;
  } catch (error) {
    const why = isVolbakError(error) ? `: ${error.message}` : '';
    throw new VolbakError('INTEGRITY', `the manifest of ${name} is damaged${why}`, {
      cause: error,
      hint: 'Run `volbak verify`; other snapshots are not touched by this.',
    });
  }
}

/** Content size that a zstd frame's header states (RFC 8878, 3.1.1.1); undefined where it states none. */
export function frameContentSize(frame: Buffer): number | undefined {
  if (frame.length < 18 || frame.readUInt32LE(0) !== 0xfd2fb528) return undefined;
  const descriptor = frame[4] as number;
  const single = (descriptor & 0x20) !== 0;
  const at = 5 + (single ? 0 : 1) + ([0, 1, 2, 4][descriptor & 3] as number);
  switch (descriptor >> 6) {
    case 0:
      return single ? frame[at] : undefined;
    case 1:
      return frame.readUInt16LE(at) + 256;
    case 2:
      return frame.readUInt32LE(at);
    default:
      return Number(frame.readBigUInt64LE(at));
  }
}
