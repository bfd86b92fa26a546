import { printable } from '../../core/bytes.ts';
import { VolbakError } from '../../core/errors.ts';
import type { Attachment } from '../../engine/attachment.ts';
import { collectOutput, runHelper } from '../../engine/run-helper.ts';
import type { EngineContext } from '../engine-context.ts';
import type { TarVerdict } from '../read/judge.ts';
import type { Listing } from '../read/listing.ts';
import { MemberHasher } from '../read/member-hasher.ts';
import { streamVolume } from '../read/tar-stream.ts';
import { extractInto } from '../write/extract.ts';
import { Handover } from './handover.ts';
import { MemberSpool } from './members.ts';

/** A directory in helpers of an engine: a volume, or what becomes one. */
export interface Place {
  ctx: EngineContext;
  attachment: Attachment;
  path: string;
  /** What comes from there or goes there is compressed: the engine is far away, and its helper has gzip. */
  compressed: boolean;
}

export interface Sent extends TarVerdict {
  members: MemberSpool;
  warnings: string[];
}

/** Sends listed members from one engine to the other, one tar into the next; answers with what went through, hashed. */
export async function send(
  from: Place,
  to: Place,
  listing: Pick<Listing, 'spool' | 'fsType' | 'plain'>,
  progress: (bytes: number) => void,
): Promise<Sent> {
  const members = new MemberSpool();
  const handover = new Handover();
  let done = 0;
  const reading = streamVolume(
    from.ctx,
    from.attachment,
    from.path,
    listing,
    async (bytes) => {
      await handover.push(bytes);
      done += bytes.length;
      progress(done);
    },
    { sink: new MemberHasher(members.push), compressed: from.compressed },
  ).then(
    (verdict) => {
      handover.end();
      return verdict;
    },
    (error: unknown) => {
      handover.end(error);
      throw error;
    },
  );
  reading.catch(() => {});
  try {
    const warnings = await extractInto(to.ctx, to.attachment, to.path, handover, {
      compressed: to.compressed,
      ordered: true,
    });
    return { ...(await reading), members, warnings };
  } catch (error) {
    // The reader must not go on for nobody.
    handover.abandon();
    await reading.catch(() => {});
    throw error;
  }
}

/** Whether data of an engine is worth compressing, and its helper can: unix sockets lead to this machine. */
export async function compresses(ctx: EngineContext): Promise<boolean> {
  if (ctx.lane !== 'attach' || ctx.engine.endpoint.kind === 'unix') return false;
  const spec = { image: ctx.image, purpose: 'look', script: 'gzip --version >/dev/null 2>&1' };
  const { exitCode } = await runHelper(ctx.engine, spec, collectOutput, ctx.signal);
  return exitCode === 0;
}

/** Raises HELPER_FAILED where something was not read as it should have been, though all that uses it stands still. */
export function assertHeldStill(
  volume: string,
  complaints: readonly { path: string; message: string }[],
): void {
  const [first] = complaints;
  if (!first) return;
  throw new VolbakError(
    'HELPER_FAILED',
    `volume ${volume} did not hold still after its containers were stopped: ${printable(`${first.path}: ${first.message}`)}`,
    { hint: 'Something outside of containers writes into it, or its disk is failing.' },
  );
}
