import { createFramePool } from '../../codec/pool.ts';
import { type ByteString, fromText } from '../../core/bytes.ts';
import { planAttachment } from '../../engine/attachment.ts';
import type { ResolvedSource } from '../../engine/source.ts';
import type { FetchOptions } from '../../repository/fetch.ts';
import { readTar } from '../../repository/index-reader.ts';
import type { Manifest, ManifestVolume } from '../../repository/manifest.ts';
import type { Repository } from '../../repository/repository.ts';
import { Session } from '../../repository/session.ts';
import { TarRewriter } from '../../tar/rewrite.ts';
import { TarScanner } from '../../tar/scanner.ts';
import type { EngineContext } from '../engine-context.ts';
import type { JobEnvironment } from '../environment.ts';
import { listVolume } from '../read/list.ts';
import { streamVolume } from '../read/tar-stream.ts';
import type { ArchiveSink } from './archive.ts';

export interface ExportResult {
  members: number;
  bytes: number;
  /** Files that changed, vanished or could not be read; of a live source only. */
  incomplete: boolean;
}

/**
 * Names of a volume's members in an archive: below its mount path without the leading slash, as
 * `tar cvf backup.tar /dbdata` writes them, or as they are ("./…") without prefix.
 */
function exportedName(prefix: string): (path: ByteString) => ByteString {
  if (prefix === '') return (path) => path;
  const root = fromText(prefix.replace(/^\/+|\/+$/g, ''));
  return (path) => (path === '.' ? root : `${root}/${path.slice(2)}`);
}

/** Joins the tars of several volumes under new names into one archive. */
class ArchiveJoiner {
  readonly #sink: ArchiveSink;
  #parts: Buffer[] = [];
  members = 0;
  bytes = 0;

  constructor(sink: ArchiveSink) {
    this.#sink = sink;
  }

  /** A place for one volume's tar: feed it whole, then check with `finish`. */
  begin(prefix: string): { push(bytes: Uint8Array): Promise<void>; finish(): void } {
    const nameOf = exportedName(prefix);
    const rewriter = new TarRewriter(
      ({ path, type, link }) => ({
        name: nameOf(path),
        ...(type === 'hardlink' && link !== undefined ? { link: nameOf(link) } : {}),
      }),
      (bytes) => this.#parts.push(Buffer.from(bytes)),
    );
    const scanner = new TarScanner(rewriter);
    return {
      push: async (bytes) => {
        scanner.push(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
        await this.#flush();
      },
      finish: () => {
        scanner.finish();
        this.members += rewriter.members;
      },
    };
  }

  async end(): Promise<void> {
    this.#parts.push(Buffer.alloc(1024));
    await this.#flush();
    await this.#sink.finish();
  }

  async #flush(): Promise<void> {
    if (this.#parts.length === 0) return;
    const bytes = Buffer.concat(this.#parts);
    this.#parts = [];
    this.bytes += bytes.length;
    await this.#sink.write(bytes);
  }
}

/**
 * What a volume is called in the archive: its mount path, or its name where it was backed up by itself. What a handler
 * printed is a file, and no volume's.
 */
function prefixOf(
  volume: { name: string; destinations: string[]; captured?: boolean | undefined },
  bare: boolean,
): string {
  return bare || volume.captured ? '' : (volume.destinations[0] ?? volume.name);
}

/** Writes volumes of a snapshot as one plain tar. `bare`: one volume without a prefix. */
export async function exportSnapshot(
  env: JobEnvironment,
  repository: Repository,
  manifest: Manifest,
  volumes: readonly ManifestVolume[],
  bare: boolean,
  sink: ArchiveSink,
): Promise<ExportResult> {
  const pool = createFramePool();
  const fetch: FetchOptions = {
    store: repository.store,
    pool,
    signal: env.signal,
    ...(env.readAhead === undefined ? {} : { parallel: env.readAhead }),
  };
  const session = await Session.begin({
    store: repository.store,
    kind: 'export',
    uses: [{ id: manifest.id, source: manifest.source }],
    now: () => env.clock.now().getTime(),
  }).catch(() => undefined);
  const joiner = new ArchiveJoiner(sink);
  try {
    for (const volume of volumes) {
      env.emit({
        event: 'volume-start',
        volume: volume.name,
        action: 'export',
        entries: volume.entries,
        bytes: volume.tarBytes,
      });
      const place = joiner.begin(prefixOf(volume, bare));
      let done = 0;
      for await (const bytes of readTar(volume.index, fetch)) {
        await place.push(bytes);
        done += bytes.length;
        env.emit({ event: 'progress', volume: volume.name, action: 'export', done, total: volume.tarBytes });
      }
      place.finish();
      env.emit({ event: 'volume-done', volume: volume.name, action: 'export', bytes: done });
    }
    await joiner.end();
    return { members: joiner.members, bytes: joiner.bytes, incomplete: manifest.status === 'partial' };
  } catch (error) {
    await sink.abandon();
    throw error;
  } finally {
    await session?.end();
    await pool.close();
  }
}

/** Writes a container's volumes, or a volume, straight from the engine as one plain tar; no repository is needed. */
export async function exportLive(
  env: JobEnvironment,
  ctx: EngineContext,
  source: ResolvedSource,
  bare: boolean,
  sink: ArchiveSink,
): Promise<ExportResult> {
  const attachment = planAttachment(source, source.volumes);
  const joiner = new ArchiveJoiner(sink);
  let incomplete = false;
  try {
    for (const volume of source.volumes) {
      const path = attachment.paths.get(volume.name) as string;
      const listing = await listVolume(ctx, attachment, path);
      env.emit({
        event: 'volume-start',
        volume: volume.name,
        action: 'export',
        entries: listing.spool.count,
        bytes: listing.bytes,
      });
      const place = joiner.begin(prefixOf(volume, bare));
      let done = 0;
      const verdict = await streamVolume(ctx, attachment, path, listing, async (bytes) => {
        await place.push(bytes);
        done += bytes.length;
        env.emit({ event: 'progress', volume: volume.name, action: 'export', done, total: listing.bytes });
      });
      place.finish();
      for (const { message, path: name, kind } of verdict.complaints) {
        if (kind !== 'warning') incomplete = true;
        env.emit({ event: 'warning', volume: volume.name, path: name, message });
      }
      env.emit({ event: 'volume-done', volume: volume.name, action: 'export', bytes: done });
    }
    await joiner.end();
    return { members: joiner.members, bytes: joiner.bytes, incomplete };
  } catch (error) {
    await sink.abandon();
    throw error;
  }
}
