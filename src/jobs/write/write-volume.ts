import { randomBytes } from 'node:crypto';
import { VolbakError } from '../../core/errors.ts';
import type { Attachment } from '../../engine/attachment.ts';
import type { EngineContext } from '../engine-context.ts';
import { extractInto } from './extract.ts';
import type { TargetState } from './inspect.ts';
import { emptyVolume, Stage } from './stage.ts';

export type OnConflict = 'refuse' | 'overlay' | 'replace';

/** Raises TARGET_NOT_EMPTY where a volume holds something and nobody said what to do about it. */
export function assertWritable(volume: string, state: TargetState, onConflict: OnConflict): void {
  if (onConflict !== 'refuse' || state.entries.length === 0) return;
  throw new VolbakError(
    'TARGET_NOT_EMPTY',
    `volume ${volume} is not empty: it holds ${state.entries.join(', ')}${state.entries.length === 5 ? ', …' : ''}`,
    {
      hint: 'Choose another target (--to-volume, --rename), or --on-conflict overlay or replace.',
    },
  );
}

/** Raises HELPER_FAILED where the content cannot fit: before a byte is written. */
export function assertSpace(volume: string, state: TargetState, bytes: number): void {
  if (bytes <= state.available) return;
  const gib = (n: number) => `${(n / 2 ** 30).toFixed(1)} GiB`;
  throw new VolbakError(
    'HELPER_FAILED',
    `volume ${volume} has room for ${gib(state.available)}, but ${gib(bytes)} are needed`,
    {
      hint: "Make room on the engine's disk.",
    },
  );
}

export interface WriteOptions {
  ctx: EngineContext;
  attachment: Attachment;
  volume: string;
  state: TargetState;
  onConflict: OnConflict;
  /** Called when the content is in the volume, before it replaces anything. */
  check?(path: string): Promise<void>;
}

/**
 * Writes a tar into a volume. An empty one is written directly and emptied again on failure; over old content it is
 * extracted whole beside it first, so that a failure leaves the old content as it was. Returns what tar complained of.
 */
export async function writeVolume(tar: AsyncIterable<Uint8Array>, options: WriteOptions): Promise<string[]> {
  const { ctx, attachment, volume, state, onConflict, check } = options;
  const root = attachment.paths.get(volume) as string;
  if (state.entries.length === 0) {
    try {
      const warnings = await extractInto(ctx, attachment, root, tar);
      await check?.(root);
      return warnings;
    } catch (error) {
      await emptyVolume(ctx, attachment, root).catch(() => {});
      throw error;
    }
  }
  const stage = await Stage.create(ctx, attachment, root, randomBytes(4).toString('hex'));
  try {
    const warnings = await extractInto(ctx, attachment, stage.path, tar);
    await check?.(stage.path);
    await stage.apply(onConflict === 'replace' ? 'replace' : 'overlay');
    return warnings;
  } catch (error) {
    await stage.discard().catch(() => {});
    throw error;
  }
}
