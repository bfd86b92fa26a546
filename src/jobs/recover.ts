import { messageOf } from '../core/errors.ts';
import { Journal } from '../core/journal.ts';
import { plural } from '../core/units.ts';
import type { EngineConnection } from '../engine/connect.ts';
import { sweepLanes } from '../engine/lanes/pipe.ts';
import { MADE_VOLUMES_JOURNAL, type MadeVolume, removeHalfFilled } from '../engine/made-volumes.ts';
import { endedContainers } from '../engine/own-container.ts';
import { QUIESCE_JOURNAL, type QuiesceNote, resumeOrphans } from '../engine/quiesce.ts';
import { sweepLeftovers } from '../engine/sweep.ts';
import type { EngineContext } from './engine-context.ts';
import type { JobEnvironment } from './environment.ts';
import { settleOrphans } from './write/settle.ts';
import { STAGES_JOURNAL, type StageNote } from './write/stage.ts';

/**
 * Keeps the promises of runs that were killed: what they stopped is started, their helpers and half-filled volumes are
 * removed, and old content that they were about to replace is whole again, or the new one is. Every command does this first. What cannot be done is said, and tried again by the next command.
 */
export async function recover(
  engine: EngineConnection,
  env: Pick<JobEnvironment, 'emit' | 'stateDirectory'>,
  /** The engine with a helper image, which is only looked for where one is needed. */
  context: () => Promise<EngineContext>,
): Promise<void> {
  const attempt = async (what: string, work: () => Promise<string | undefined>) => {
    try {
      const message = await work();
      if (message !== undefined)
        env.emit({ event: 'warning', message: `an earlier run was killed: ${message}` });
    } catch (error) {
      env.emit({ event: 'warning', message: `an earlier run was killed, and ${what}: ${messageOf(error)}` });
    }
  };
  const gone = await endedContainers(engine).catch(() => () => false);
  await attempt('what it stopped could not be started again', async () => {
    const started = await resumeOrphans(
      engine,
      new Journal<QuiesceNote>(`${env.stateDirectory}/${QUIESCE_JOURNAL}`, gone),
    );
    return started.length > 0 ? `started again: ${started.join(', ')}` : undefined;
  });
  await attempt('its helpers could not be removed', async () => {
    const swept = await sweepLeftovers(engine);
    return swept > 0 ? `removed ${plural(swept, 'helper container')}` : undefined;
  });
  await attempt('what it was writing into volumes could not be settled', async () => {
    const journal = new Journal<StageNote>(`${env.stateDirectory}/${STAGES_JOURNAL}`, gone);
    const settled = await settleOrphans(engine.info.id, context, journal);
    return settled.length > 0 ? settled.join('; ') : undefined;
  });
  // Unasked for: nobody else sees them, and nobody misses them.
  await attempt('its temporary files could not be removed', async () => {
    await sweepLanes();
    return undefined;
  });
  // After the helpers: a volume that one of them holds cannot be removed.
  await attempt('its half-filled volumes could not be removed', async () => {
    const journal = new Journal<MadeVolume>(`${env.stateDirectory}/${MADE_VOLUMES_JOURNAL}`, gone);
    const removed = await removeHalfFilled(engine, journal);
    return removed.length > 0 ? `removed its half-filled volumes: ${removed.join(', ')}` : undefined;
  });
}
