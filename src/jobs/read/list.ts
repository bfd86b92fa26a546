import { randomBytes } from 'node:crypto';
import { RecordSpool } from '../../core/chunk-spool.ts';
import { messageOf, VolbakError } from '../../core/errors.ts';
import type { Attachment } from '../../engine/attachment.ts';
import { type HelperSpec, READ_CAPABILITIES } from '../../engine/helper.ts';
import { createPipe, openProbe } from '../../engine/lanes/pipe.ts';
import { type HelperRun, runHelper } from '../../engine/run-helper.ts';
import { type Listed, OrderCheck, parseListed, RecordSplitter } from '../../tar/listing.ts';
import type { EngineContext } from '../engine-context.ts';
import { STAGE_NAME } from '../write/stage-script.ts';
import { LIST_SCRIPT, NO_DIRECTORY } from './scripts.ts';

/** What is in a volume, as `find` saw it, and what of it is to be read. */
export interface Listing {
  /** Records of the members to read. */
  spool: RecordSpool;
  fsType: string;
  /** Version of the helper's tar. */
  helperTar: string;
  sockets: number;
  excluded: number;
  /** Content of the regular files in bytes, to tell progress by. */
  bytes: number;
  started: Date;
  /** What find could not look at, for a person. */
  complaints: string[];
}

/** True for members to leave out. */
export type Exclude = (member: Listed) => boolean;

class ListingParser {
  readonly listing: Listing;
  readonly #splitter = new RecordSplitter();
  readonly #order = new OrderCheck();
  readonly #exclude: Exclude | undefined;
  #found: string | undefined;
  #sorted: string | undefined;
  readonly #stages = new Set<string>();

  constructor(started: Date, exclude: Exclude | undefined) {
    this.#exclude = exclude;
    this.listing = {
      spool: new RecordSpool(),
      fsType: 'unknown',
      helperTar: 'unknown',
      sockets: 0,
      excluded: 0,
      bytes: 0,
      started,
      complaints: [],
    };
  }

  push(chunk: Buffer): void {
    for (const record of this.#splitter.push(chunk)) this.#record(record);
  }

  #record(record: string): void {
    const { listing } = this;
    if (record.startsWith('FS ')) listing.fsType = record.slice(3);
    else if (record.startsWith('TAR ')) listing.helperTar = record.slice(4);
    else if (record.startsWith('FIND ')) this.#found = record.slice(5);
    else if (record.startsWith('SORT ')) this.#sorted = record.slice(5);
    else this.#member(record);
  }

  #member(record: string): void {
    const { listing } = this;
    const member = parseListed(record);
    this.#order.next(member.path);
    if (this.#isStaged(member.path)) return;
    if (member.type === 'socket') {
      listing.sockets++;
    } else if (member.path !== '.' && this.#exclude?.(member)) {
      listing.excluded++;
    } else {
      listing.spool.push(record);
      if (member.type === 'file') listing.bytes += member.size;
    }
  }

  /** Content on its way into the volume, or out of it, is no content of it; left out, and said. */
  #isStaged(path: string): boolean {
    const [, top = ''] = path.split('/', 2);
    if (!STAGE_NAME.test(top)) return false;
    this.#stages.add(top);
    return true;
  }

  /** Raises HELPER_FAILED unless find and sort told their ends. */
  finish(stderr: string[]): Listing {
    // find ends with 1 where something vanished under it; those lines name it.
    const ended = this.#sorted === '0' && (this.#found === '0' || (this.#found === '1' && stderr.length > 0));
    if (!ended || this.#splitter.rest > 0 || this.listing.spool.count === 0) {
      throw new VolbakError(
        'HELPER_FAILED',
        `the volume could not be listed: ${stderr.at(-1) ?? 'the listing is cut off'}`,
      );
    }
    const staged = [...this.#stages].map(
      (name) => `${name}: a restore into this volume is at work or broke off, so content may be missing`,
    );
    this.listing.complaints = [...stderr, ...staged];
    return this.listing;
  }
}

/** Lists a volume's directory `path` in a helper; the first call also finds out which lane works. */
export async function listVolume(
  ctx: EngineContext,
  attachment: Attachment,
  path: string,
  options: { exclude?: Exclude; now(): Date },
): Promise<Listing> {
  const parser = new ListingParser(options.now(), options.exclude);
  const spec: HelperSpec = {
    image: ctx.image,
    purpose: 'list',
    script: LIST_SCRIPT,
    args: [path],
    capabilities: READ_CAPABILITIES,
    mounts: attachment.mounts,
    ...(attachment.volumesFrom === undefined ? {} : { volumesFrom: attachment.volumesFrom }),
  };
  const run = await runProbing(ctx, spec, async (helper) => {
    try {
      for await (const chunk of helper.stdout) parser.push(chunk);
    } catch (error) {
      throw new VolbakError('HELPER_FAILED', `the volume could not be listed: ${messageOf(error)}`, {
        cause: error,
      });
    }
  });
  const { lines } = run.stderr;
  if (run.exitCode === NO_DIRECTORY) {
    throw new VolbakError(
      'HELPER_FAILED',
      `${path} is no directory: a single file cannot be backed up as a volume`,
    );
  }
  if (run.exitCode !== 0) {
    throw new VolbakError(
      'HELPER_FAILED',
      `listing the volume failed (exit ${run.exitCode}): ${lines.at(-1) ?? ''}`,
      {
        hint: 'The helper image needs GNU find, sort and tar: `volbak helper`.',
      },
    );
  }
  return parser.finish(lines);
}

/**
 * Runs a helper; while the lane is unknown it also tries whether a FIFO made here is the same one in the helper.
 * A directory existing on both sides proves nothing: Docker Desktop shares files, but not its kernel.
 */
export async function runProbing<T>(
  ctx: EngineContext,
  spec: HelperSpec,
  use: Parameters<typeof runHelper<T>>[2],
): Promise<HelperRun<T>> {
  if (ctx.lane !== 'auto') return runHelper(ctx.engine, spec, use, ctx.signal);
  if (!ctx.engine.info.isLocal) {
    ctx.lane = 'attach';
    return runHelper(ctx.engine, spec, use, ctx.signal);
  }
  const pipe = await createPipe();
  const probe = await openProbe(pipe);
  const token = randomBytes(16).toString('hex');
  try {
    const env = { VOLBAK_PROBE: token, VOLBAK_LANE: pipe.helperPath };
    const withLane = { ...spec, env, mounts: [...(spec.mounts ?? []), pipe.mount] };
    const run = await runHelper(ctx.engine, withLane, use, ctx.signal);
    ctx.lane = (await probe.arrived(token)) ? 'pipe' : 'attach';
    return run;
  } catch (error) {
    // An engine elsewhere refuses the mount before anything ran: "bind source path does not exist".
    if (!/bind source path|mount/i.test(messageOf(error)) || ctx.signal?.aborted) throw error;
    ctx.lane = 'attach';
    return await runHelper(ctx.engine, spec, use, ctx.signal);
  } finally {
    await probe.close();
    await pipe.remove();
  }
}
