import { VolbakError } from '../../core/errors.ts';
import type { Journal } from '../../core/journal.ts';
import type { Attachment } from '../../engine/attachment.ts';
import type { MadeVolumes } from '../../engine/made-volumes.ts';
import type { EngineContext } from '../engine-context.ts';
import type { TargetState } from './inspect.ts';
import { emptyVolume, Stage, type StageNote } from './stage.ts';

export type OnConflict = 'refuse' | 'overlay' | 'replace';

/** Raises TARGET_NOT_EMPTY where a volume holds something and nobody said what to do about it. */
export function assertWritable(volume: string, state: TargetState, onConflict: OnConflict): void {
  if (state.mounts.length > 0 && state.entries.length > 0) {
    throw new VolbakError(
      'TARGET_NOT_EMPTY',
      `something else is mounted inside volume ${volume}: ${state.mounts.join(', ')}`,
      { hint: 'Unmount it first: what is mounted cannot be moved aside with the old content.' },
    );
  }
  if (onConflict !== 'refuse' || state.entries.length === 0) return;
  const held = `${state.entries.join(', ')}${state.entries.length === 5 ? ', …' : ''}`;
  throw new VolbakError('TARGET_NOT_EMPTY', `volume ${volume} is not empty: it holds ${held}`, {
    hint: 'Choose another target (--to-volume, --rename), or --on-conflict overlay or replace.',
  });
}

/**
 * Raises HELPER_FAILED where the content cannot fit: before a byte is written. Old content stays until the new one is
 * whole, so what it takes counts as taken.
 */
export function assertSpace(volume: string, state: TargetState, bytes: number, entries: number): void {
  const beside = state.entries.length > 0 ? ' beside what it holds' : '';
  const hint = "Make room on the engine's disk.";
  if (bytes > state.available) {
    const gib = (n: number) => `${(n / 2 ** 30).toFixed(1)} GiB`;
    throw new VolbakError(
      'HELPER_FAILED',
      `volume ${volume} has room for ${gib(state.available)}${beside}, but ${gib(bytes)} are needed`,
      { hint },
    );
  }
  if (entries > state.inodes) {
    throw new VolbakError(
      'HELPER_FAILED',
      `the file system of volume ${volume} takes ${state.inodes} more files${beside}, but ${entries} are needed`,
      { hint },
    );
  }
}

export interface WriteOptions {
  ctx: EngineContext;
  attachment: Attachment;
  /** What lies in each attached volume. */
  states: ReadonlyMap<string, TargetState>;
  /** Volumes that this run made: written directly, since a journal of theirs removes them after a crash. */
  made: MadeVolumes;
  onConflict: OnConflict;
  /** Keeps what a replacement takes away in this directory of the volume. */
  keepOld?: string;
  stages: Journal<StageNote>;
  /** Called when the content is whole, before it replaces anything; throws to have none of it. */
  check?(bases: ReadonlyMap<string, string>): Promise<void>;
}

export interface Written<T> {
  /** What `extract` returned. */
  result: T;
  /** Volumes whose root's own attributes came out other than they should. */
  differing: string[];
}

/**
 * Writes into all attached volumes at once. `extract` is told each volume's base, a directory in the helper, and fills
 * it. Volumes that this run made, and those in memory, are written directly and emptied again on failure. In all others
 * the content is extracted beside the old first, so a failure leaves that as it was, also a kill.
 */
export async function writeVolumes<T>(
  options: WriteOptions,
  extract: (bases: ReadonlyMap<string, string>) => Promise<T>,
): Promise<Written<T>> {
  const { ctx, attachment, states, onConflict, keepOld, made, check } = options;
  const mode = onConflict === 'overlay' ? 'overlay' : 'replace';
  const isDirect = (volume: string) => {
    const state = states.get(volume);
    // What lives in memory is gone between two helpers: there is nothing to stage in.
    return made.names.has(volume) || (state?.entries.length === 0 && state.fsType === 'tmpfs');
  };
  const bases = new Map<string, string>();
  const names = [...attachment.paths.keys()];
  const direct = names.filter(isDirect);
  const staged = names.filter((name) => !isDirect(name));
  let stage: Stage | undefined;
  let kept = false;
  try {
    if (staged.length > 0) stage = await Stage.create(ctx, attachment, staged, options.stages);
    for (const [volume, root] of attachment.paths)
      bases.set(volume, staged.includes(volume) && stage ? stage.pathOf(root) : root);
    const result = await extract(bases);
    await check?.(bases);
    ctx.signal?.throwIfAborted();
    if (direct.length > 0) await stage?.check(mode, keepOld);
    // From here on old content may be gone: volumes that this run made stay with what takes its place.
    await made.keep();
    kept = true;
    const roots = await stage?.apply(mode, keepOld);
    const differing = names.filter((name) => roots?.includes(attachment.paths.get(name) as string));
    return { result, differing };
  } catch (error) {
    if (stage?.unsettled) throw error;
    for (const volume of direct)
      await emptyVolume(ctx, attachment, attachment.paths.get(volume) as string).catch(() => {});
    if (kept) await made.discardKept();
    else await stage?.settle().catch(() => {});
    throw error;
  }
}
