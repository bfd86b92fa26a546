import { randomBytes } from 'node:crypto';
import { isVolbakError, messageOf, VolbakError } from '../../core/errors.ts';
import type { Attachment } from '../../engine/attachment.ts';
import { type HelperSpec, READ_CAPABILITIES } from '../../engine/helper.ts';
import { createPipe, openProbe } from '../../engine/lanes/pipe.ts';
import { type HelperRun, runHelper } from '../../engine/run-helper.ts';
import type { EngineContext } from '../engine-context.ts';
import { type Exclude, type Listing, ListingParser } from './listing.ts';
import { ListingIntake, type Recognition } from './listing-intake.ts';
import { LIST_PLAINLY_SCRIPT, LIST_SCRIPT, NO_DIRECTORY, NO_LISTING } from './scripts.ts';

export interface ListOptions {
  exclude?: Exclude;
  /** Of a listing that is recognised only what is told about all of it comes back. */
  recognition?: Recognition;
}

/**
 * Lists a volume's directory `path` in a helper; the first call also finds out which lane works. A helper image without
 * GNU find lists what it can (`plain`).
 */
export async function listVolume(
  ctx: EngineContext,
  attachment: Attachment,
  path: string,
  { exclude, recognition }: ListOptions = {},
): Promise<Listing> {
  const leavingOut = exclude ? { exclude } : {};
  const recognising = recognition ? { ...leavingOut, recognition } : leavingOut;
  const listing = await runListing(ctx, attachment, path, LIST_SCRIPT, recognising);
  if (listing) return listing;
  const plain = await runListing(ctx, attachment, path, LIST_PLAINLY_SCRIPT, leavingOut);
  if (plain) return { ...plain, plain: true };
  throw new VolbakError(
    'HELPER_FAILED',
    `the helper image ${ctx.image} can neither list a volume nor archive one`,
    {
      hint: 'It needs GNU find, sort and tar: `volbak helper`.',
    },
  );
}

/** Undefined where the helper's tools cannot do what the script asks for. */
async function runListing(
  ctx: EngineContext,
  attachment: Attachment,
  path: string,
  script: string,
  { exclude, recognition }: ListOptions,
): Promise<Listing | undefined> {
  const listing = new ListingParser(exclude);
  const parser = recognition ? new ListingIntake(listing, recognition) : listing;
  const spec: HelperSpec = {
    image: ctx.image,
    purpose: 'list',
    script,
    args: [path],
    capabilities: READ_CAPABILITIES,
    mounts: attachment.mounts,
    ...(attachment.volumesFrom === undefined ? {} : { volumesFrom: attachment.volumesFrom }),
  };
  const { exitCode, stderr, result } = await runProbing(ctx, spec, async (helper, stderr) => {
    try {
      for await (const chunk of helper.stdout) parser.push(chunk);
    } catch (error) {
      throw failed(error);
    }
    // While the engine puts the helper away; its exit code comes first in what is told.
    return finish(parser, stderr.lines);
  });
  if (exitCode === NO_LISTING) return undefined;
  if (exitCode === 0 && result instanceof VolbakError) throw result;
  if (exitCode === 0) return result as Listing;
  if (exitCode === NO_DIRECTORY) {
    throw new VolbakError(
      'HELPER_FAILED',
      `${path} is no directory: a single file cannot be backed up as a volume`,
    );
  }
  const why = stderr.lines.at(-1) ?? '';
  throw new VolbakError('HELPER_FAILED', `listing the volume failed (exit ${exitCode}): ${why}`, {
    hint: 'The helper image needs GNU find, sort and tar: `volbak helper`.',
  });
}

async function finish(
  parser: ListingParser | ListingIntake,
  stderr: string[],
): Promise<Listing | VolbakError> {
  try {
    return await parser.finish(stderr);
  } catch (error) {
    return isVolbakError(error) ? error : failed(error);
  }
}

function failed(cause: unknown): VolbakError {
  return new VolbakError('HELPER_FAILED', `the volume could not be listed: ${messageOf(cause)}`, { cause });
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
    // The probe comes before all that a helper prints, and whoever reads that may want the lane already.
    const settle = async () => {
      if (ctx.lane === 'auto') ctx.lane = (await probe.arrived(token)) ? 'pipe' : 'attach';
    };
    const probing: typeof use = (helper, stderr) =>
      use({ ...helper, stdout: settledFirst(helper.stdout, settle) }, stderr);
    const run = await runHelper(ctx.engine, withLane, probing, ctx.signal);
    await settle();
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

async function* settledFirst(
  output: AsyncIterable<Buffer>,
  settle: () => Promise<void>,
): AsyncGenerator<Buffer> {
  for await (const chunk of output) {
    await settle();
    yield chunk;
  }
}
