import { VolbakError } from '../../core/errors.ts';
import type { EventSink } from '../../core/events.ts';
import type { Journal } from '../../core/journal.ts';
import { processIdentity, processState } from '../../core/process-identity.ts';
import { sleep } from '../../core/sleep.ts';
import { type Attachment, mountEach } from '../../engine/attachment.ts';
import { findVolume } from '../../engine/source.ts';
import { helpersAtWork } from '../../engine/sweep.ts';
import type { EngineContext } from '../engine-context.ts';
import { inspectTargets, type TargetState } from './inspect.ts';
import { ownerOfStage, type StageNote, settleStage } from './stage.ts';

const OUTCOME = {
  forward: 'finished putting the new content into',
  back: 'took back what was gathered in',
};

/** Brings to an end what killed runs of this host left in volumes. Returns what was done; notes of other engines stay. */
export async function settleOrphans(
  engineId: string,
  context: () => Promise<EngineContext>,
  journal: Journal<StageNote>,
): Promise<string[]> {
  const told: string[] = [];
  for (const { body, note } of await journal.orphans()) {
    if (body.engineId !== engineId) continue;
    const ctx = await context();
    const there: { name: string }[] = [];
    for (const name of body.volumes) if (await findVolume(ctx.engine, name)) there.push({ name });
    if (there.length > 0) {
      const attachment = mountEach(there, false);
      const outcome = await settleStage(ctx, attachment, body.stage, [...attachment.paths.values()]);
      told.push(`${OUTCOME[outcome]} ${there.map(({ name }) => name).join(', ')}`);
    }
    await note.remove();
  }
  return told;
}

/** Between two helpers of a run that is at work there is a moment without one. */
const SECOND_LOOK_MS = 2000;

/**
 * What lies in volumes that are to be written, after what runs of other hosts left there was brought to an end. Raises
 * TARGET_NOT_EMPTY where such a run is still at work.
 */
export async function inspectSettled(
  ctx: EngineContext,
  attachment: Attachment,
  emit: EventSink,
): Promise<Map<string, TargetState>> {
  const states = await inspectTargets(ctx, attachment);
  const left = [...states].filter(([, state]) => state.stages.length > 0);
  if (left.length === 0) return states;
  for (const [volume, { stages }] of left) {
    for (const stage of stages) await settleForeign(ctx, volume, stage, emit);
  }
  return inspectTargets(ctx, attachment);
}

async function settleForeign(
  ctx: EngineContext,
  volume: string,
  stage: string,
  emit: EventSink,
): Promise<void> {
  const attachment = mountEach([{ name: volume }], false);
  const root = attachment.paths.get(volume) as string;
  const owner = await ownerOfStage(ctx, attachment, stage, root);
  if (await isAtWork(ctx, owner)) {
    throw new VolbakError('TARGET_NOT_EMPTY', `another volbak is writing into volume ${volume}`, {
      hint: 'Wait until it is done. If it was killed, remove its helper containers first: `volbak doctor` lists them.',
    });
  }
  const outcome = await settleStage(ctx, attachment, stage, [root]);
  const message = `an earlier run was killed: ${OUTCOME[outcome]} ${volume}`;
  emit({ event: 'warning', message });
}

/** Of a process on another host only its helpers tell whether it lives. */
async function isAtWork(ctx: EngineContext, owner: string): Promise<boolean> {
  const state = processState(owner);
  if (state !== 'elsewhere') return state === 'alive' && owner !== processIdentity();
  if ((await helpersAtWork(ctx.engine, owner)) > 0) return true;
  await sleep(SECOND_LOOK_MS, ctx.signal);
  return (await helpersAtWork(ctx.engine, owner)) > 0;
}
