import { randomBytes } from 'node:crypto';
import { VolbakError } from '../../core/errors.ts';
import type { Attachment } from '../../engine/attachment.ts';
import type { EngineContext } from '../engine-context.ts';
import type { TargetState } from './inspect.ts';
import { emptyVolume, Stage } from './stage.ts';

export type OnConflict = 'refuse' | 'overlay' | 'replace';

/** Raises TARGET_NOT_EMPTY where a volume holds something and nobody said what to do about it. */
export function assertWritable(volume: string, state: TargetState, onConflict: OnConflict): void {
  if (onConflict !== 'refuse' || state.entries.length === 0) return;
  const held = `${state.entries.join(', ')}${state.entries.length === 5 ? ', …' : ''}`;
  throw new VolbakError('TARGET_NOT_EMPTY', `volume ${volume} is not empty: it holds ${held}`, {
    hint: 'Choose another target (--to-volume, --rename), or --on-conflict overlay or replace.',
  });
}

/** Raises HELPER_FAILED where the content cannot fit: before a byte is written. */
export function assertSpace(volume: string, state: TargetState, bytes: number): void {
  if (bytes <= state.available) return;
  const gib = (n: number) => `${(n / 2 ** 30).toFixed(1)} GiB`;
  throw new VolbakError(
    'HELPER_FAILED',
    `volume ${volume} has room for ${gib(state.available)}, but ${gib(bytes)} are needed`,
    { hint: "Make room on the engine's disk." },
  );
}

export interface WriteOptions {
  ctx: EngineContext;
  attachment: Attachment;
  /** What lies in each attached volume. */
  states: ReadonlyMap<string, TargetState>;
  onConflict: OnConflict;
  /** Called when the content is whole, before it replaces anything; throws to have none of it. */
  check?(bases: ReadonlyMap<string, string>): Promise<void>;
}

/**
 * Writes into all attached volumes at once. `extract` is told each volume's base, a directory in the helper, and fills
 * it. Empty volumes are written directly and emptied again on failure; over old content all is extracted beside it
 * first, so a failure leaves the old content as it was. Returns what `extract` returns.
 */
export async function writeVolumes<T>(
  options: WriteOptions,
  extract: (bases: ReadonlyMap<string, string>) => Promise<T>,
): Promise<T> {
  const { ctx, attachment, states, onConflict, check } = options;
  const bases = new Map<string, string>();
  const stages: Stage[] = [];
  const direct: string[] = [];
  try {
    for (const [volume, root] of attachment.paths) {
      if (states.get(volume)?.entries.length === 0) {
        direct.push(root);
        bases.set(volume, root);
        continue;
      }
      const stage = await Stage.create(ctx, attachment, root, randomBytes(4).toString('hex'));
      stages.push(stage);
      bases.set(volume, stage.path);
    }
    const result = await extract(bases);
    await check?.(bases);
    for (const stage of stages) await stage.apply(onConflict === 'replace' ? 'replace' : 'overlay');
    return result;
  } catch (error) {
    for (const root of direct) await emptyVolume(ctx, attachment, root).catch(() => {});
    for (const stage of stages) await stage.discard().catch(() => {});
    throw error;
  }
}
