import zlib from 'node:zlib';
import { expect } from 'vitest';
import { decompress } from '../../src/codec/decompress.ts';
import { isVolbakError } from '../../src/core/errors.ts';
import { ListingParser } from '../../src/jobs/read/listing.ts';
import { ListingIntake } from '../../src/jobs/read/listing-intake.ts';
import { readDescriptor } from '../../src/repository/descriptor.ts';
import { memberLine, parseIndexLine } from '../../src/repository/index-lines.ts';
import { manifestKey, parseManifestKey } from '../../src/repository/keys.ts';
import { decodeManifest, encodeManifest } from '../../src/repository/manifest.ts';
import { resolveReference } from '../../src/repository/references.ts';
import { MemoryStore } from '../../src/store/memory.ts';
import { parseS3Url } from '../../src/store/s3-options.ts';
import { parseSftpUrl } from '../../src/store/sftp-options.ts';
import { openStore } from '../../src/store/url.ts';
import { parseComplaint } from '../../src/tar/complaints.ts';
import { TarError } from '../../src/tar/header.ts';
import { ListingError, OrderCheck, parseListed, RecordSplitter } from '../../src/tar/listing.ts';
import { normalisePath } from '../../src/tar/names.ts';
import { rewriteTar } from '../../src/tar/rewrite-stream.ts';
import { type TarMember, TarScanner } from '../../src/tar/scanner.ts';
import { SparseHash } from '../../src/tar/sparse.ts';

/** Reads one input. Whatever it is: a value that holds together, or one of the errors that it may raise. */
export type Reader = (input: Buffer) => void | Promise<void>;

/** Lets an error through that a reader is not allowed to raise. */
function allow(error: unknown, ...kinds: ((error: unknown) => boolean)[]): void {
  if (!kinds.some((is) => is(error))) throw error;
}
const isTar = (error: unknown) => error instanceof TarError;
const isRange = (error: unknown) => error instanceof RangeError;
const isListing = (error: unknown) => error instanceof ListingError;
const isHelperFailed = (error: unknown) => isVolbakError(error, 'HELPER_FAILED');
const isIntegrity = (error: unknown) => isVolbakError(error, 'INTEGRITY');
const isUsage = (error: unknown) => isVolbakError(error, 'USAGE');

/** Chunks of different lengths, which follow from the input itself. */
function* chunks(input: Buffer): Generator<Buffer> {
  for (let at = 0, n = 1 + (input.length % 700); at < input.length; at += n, n = 1 + ((n * 7) % 4099))
    yield input.subarray(at, at + n);
}

function expectMember(m: TarMember): void {
  expect(m.path === '.' || m.path.startsWith('./')).toBe(true);
  expect(m.path).not.toContain('\0');
  for (const n of [m.size, m.stored, m.mode, m.uid, m.gid])
    expect(Number.isSafeInteger(n) && n >= 0).toBe(true);
  expect(m.mtime).toMatch(/^-?\d{1,20}\.\d{9}$/);
  if (m.xattrs !== undefined) expect(m.xattrs).toMatch(/^[0-9a-f]{64}$/);
}

const tar: Reader = (input) => {
  const told: Buffer[] = [];
  let hash: SparseHash | undefined;
  let open = false;
  const scanner = new TarScanner({
    member(member, header) {
      expect(open).toBe(false);
      open = true;
      expectMember(member);
      told.push(Buffer.from(header));
      // Hashing the zeros of a hole takes time by its size: that is no matter of reading.
      hash = member.sparse === 'pax-1.0' && member.size < 2 ** 20 ? new SparseHash(member.size) : undefined;
    },
    content(bytes) {
      told.push(Buffer.from(bytes));
      hash?.update(bytes);
    },
    memberEnd(padding) {
      open = false;
      told.push(Buffer.from(padding));
      hash?.digest();
    },
    end: () => expect(open).toBe(false),
  });
  try {
    for (const chunk of chunks(input)) scanner.push(chunk);
    scanner.finish();
  } catch (error) {
    allow(error, isTar, isRange);
  }
  const bytes = Buffer.concat(told);
  // Zero blocks are not told of; all else is, in order and once.
  if (!input.includes(Buffer.alloc(512))) expect(input.subarray(0, bytes.length).equals(bytes)).toBe(true);
  expect(bytes.length).toBeLessThanOrEqual(input.length);
};

async function* stream(input: Buffer): AsyncGenerator<Buffer> {
  yield* chunks(input);
}

async function membersOf(input: Buffer): Promise<string[]> {
  const members: string[] = [];
  const sink = { content() {}, memberEnd() {}, end() {} };
  const scanner = new TarScanner({
    ...sink,
    member: ({ path, type, size, mode, uid, gid, mtime, link, xattrs }) =>
      void members.push(JSON.stringify([path, type, size, mode, uid, gid, mtime, link, xattrs])),
  });
  for (const chunk of chunks(input)) scanner.push(chunk);
  scanner.finish();
  return members;
}

/** What is written anew under longer names reads the same but for the names. */
const rewritten: Reader = async (input) => {
  try {
    const before = await membersOf(input);
    const parts: Buffer[] = [];
    const map = ({ path, type, link }: TarMember) => ({
      name: `./a/new/place${path.slice(1)}`,
      ...(type === 'hardlink' && link !== undefined ? { link: `./a/new/place${link.slice(1)}` } : {}),
    });
    for await (const bytes of rewriteTar(stream(input), map)) parts.push(bytes);
    const after = await membersOf(Buffer.concat(parts));
    expect(after.map((text) => text.replaceAll('./a/new/place', '.'))).toEqual(before);
  } catch (error) {
    allow(error, isTar);
  }
};

const listing: Reader = (input) => {
  const splitter = new RecordSplitter();
  const order = new OrderCheck();
  try {
    for (const chunk of chunks(input)) {
      for (const record of splitter.push(chunk)) {
        const listed = parseListed(record);
        order.next(listed.path);
        for (const n of [listed.size, listed.mode, listed.uid, listed.ino, listed.nlink])
          expect(Number.isSafeInteger(n) && n >= 0).toBe(true);
        expect(listed.path).toBe(normalisePath(listed.path));
      }
    }
  } catch (error) {
    allow(error, isListing);
  }
};

/** A listing that is held until its end gives what one gives that is gone through as it comes, and is known again. */
const intake: Reader = async (input) => {
  const failure = (error: unknown): undefined => {
    allow(error, isListing, isHelperFailed);
  };
  const direct = () => {
    const parser = new ListingParser(undefined);
    for (const chunk of chunks(input)) parser.push(chunk);
    return parser.finish([]);
  };
  const held = async (hash?: string) => {
    const leftOut = { globs: [], directories: [] };
    const taken = new ListingIntake(new ListingParser(undefined), { leftOut, known: () => hash });
    for (const chunk of chunks(input)) taken.push(chunk);
    return taken.finish([]);
  };
  const expected = await Promise.resolve().then(direct).catch(failure);
  const listed = await held().catch(failure);
  expect(listed && { ...listed, hash: undefined }).toEqual(expected && { ...expected, hash: undefined });
  if (listed?.hash !== undefined) expect(await held(listed.hash)).toMatchObject({ known: true });
};

const index: Reader = (input) => {
  for (const line of input.toString('utf8').split('\n').slice(0, 200)) {
    try {
      const parsed = parseIndexLine(line);
      if (parsed.kind === 'member') expect(parseIndexLine(memberLine(parsed.member))).toEqual(parsed);
      if (parsed.kind === 'frame')
        expect(parseIndexLine(JSON.stringify({ frame: parsed.frame }))).toEqual(parsed);
    } catch (error) {
      allow(error, isIntegrity);
    }
  }
};

const manifest: Reader = async (input) => {
  for (const stored of [input, Buffer.from(zlib.zstdCompressSync(input, { pledgedSrcSize: input.length }))]) {
    try {
      const value = await decodeManifest(stored, 'x');
      expect(await decodeManifest(Buffer.from(await encodeManifest(value)), 'x')).toEqual(value);
    } catch (error) {
      allow(error, isIntegrity);
    }
  }
};

const descriptor: Reader = async (input) => {
  const store = new MemoryStore();
  await store.put('volbak.json', input);
  try {
    expect(await readDescriptor(store)).toMatchObject({ format: 1, cut: 1 });
  } catch (error) {
    allow(error, (e) => isVolbakError(e, 'REPOSITORY_INVALID'));
  }
};

const HOME = { homeDirectory: '/home/x', user: 'x', agentSocket: undefined, sftpPassword: undefined };

const url: Reader = async (input) => {
  const text = input.toString('utf8');
  try {
    // S3 and SFTP by their parsers alone: nothing is to be connected to.
    const parsed = /^(s3|sftp):/i.test(text) ? URL.parse(text) : undefined;
    if (parsed?.protocol === 's3:') expect(parseS3Url(parsed).bucket).toMatch(/^[\w.-]{3,63}$/);
    else if (parsed?.protocol === 'sftp:') expect(parseSftpUrl(parsed, HOME).host).not.toBe('');
    else expect((await openStore(text, HOME)).label).not.toBe('');
  } catch (error) {
    allow(error, isUsage);
  }
};

const SNAPSHOTS = ['20261120T203000Z-4f9c2a', '20261121T000000Z-000000', '20261121T000000Z-ffffff'].flatMap(
  (id) =>
    ['db', 'a b', 'host/volume/db'].map((name) => ({
      id,
      source: { host: 'host', kind: 'volume' as const, name },
    })),
);

const reference: Reader = (input) => {
  try {
    expect(SNAPSHOTS).toContain(resolveReference(input.toString('utf8'), SNAPSHOTS));
  } catch (error) {
    allow(error, isUsage, (e) => isVolbakError(e, 'SNAPSHOT_NOT_FOUND'));
  }
};

const key: Reader = (input) => {
  const parsed = parseManifestKey(input.toString('utf8'));
  if (parsed) expect(parseManifestKey(manifestKey(parsed.source, parsed.id))).toEqual(parsed);
};

const complaint: Reader = (input) => {
  const parsed = parseComplaint(input.toString('latin1'));
  if (parsed && parsed !== 'summary') expect(parsed.path).toBe(normalisePath(parsed.path));
};

const MOST = 64 * 1024 * 1024;

const compressed: Reader = async (input) => {
  let length = 0;
  try {
    for await (const bytes of decompress(stream(input))) {
      length += bytes.length;
      if (length > MOST) break;
    }
  } catch (error) {
    allow(error, isIntegrity);
  }
};

export const READERS: Record<string, Reader> = {
  tar,
  rewritten,
  listing,
  intake,
  index,
  manifest,
  descriptor,
  url,
  reference,
  key,
  complaint,
  compressed,
};
