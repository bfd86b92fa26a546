import { messageOf, VolbakError } from '../core/errors.ts';
import type { Journal } from '../core/journal.ts';
import type { EngineConnection } from './connect.ts';
import { statusOf } from './helper.ts';
import { containersUsing } from './source.ts';
import { swarmServiceOf } from './swarm-task.ts';

/** Directory of the journal of what was stopped, below the state directory. */
export const QUIESCE_JOURNAL = 'quiesced';

export type QuiesceMode = 'stop' | 'pause';

export interface QuiescedContainer {
  id: string;
  name: string;
}

/** What a journal must hold to start everything again. */
export interface QuiesceNote {
  engineId: string;
  mode: QuiesceMode;
  containers: QuiescedContainer[];
}

export interface Quiesced {
  containers: QuiescedContainer[];
  /** Starts everything again, in opposite order. Safe to call twice. Raises NOT_RESTARTED. */
  resume(): Promise<void>;
  /** Leaves everything stopped for good: nothing starts it again. After `resume` it does nothing. */
  release(): Promise<void>;
}

/**
 * Stops or pauses every running container that uses one of the volumes, not only the one that was named: Docker does
 * no locking. What is stopped is written to the journal first.
 */
export async function quiesce(
  engine: EngineConnection,
  mode: QuiesceMode,
  volumes: readonly string[],
  journal: Journal<QuiesceNote>,
): Promise<Quiesced> {
  const containers = new Map<string, QuiescedContainer>();
  for (const volume of volumes) {
    for (const { Id, Names, State } of await containersUsing(engine, volume)) {
      if (State === 'running') containers.set(Id, { id: Id, name: (Names[0] ?? Id).replace(/^\//, '') });
    }
  }
  const list = [...containers.values()];
  if (mode === 'stop') for (const container of list) await assertOutlivesStop(engine, container);
  const note = await journal.write({ engineId: engine.info.id, mode, containers: list });
  let resumed: Promise<void> | undefined;
  const resume = () => {
    resumed ??= resumeAll(engine, mode, list).then(() =>
      // Nothing is stopped any more: a note that stays only makes the next command look.
      note.remove().catch(() => {}),
    );
    return resumed;
  };
  const release = () => {
    resumed ??= note.remove();
    return resumed;
  };
  try {
    for (const { id } of list) await halt(engine, mode, id);
  } catch (error) {
    await resume();
    throw new VolbakError(
      'HANDLER_FAILED',
      `cannot ${mode} the containers that use the volume: ${messageOf(error)}`,
      {
        cause: error,
      },
    );
  }
  return { containers: list, resume, release };
}

/**
 * A container of `docker run --rm` is removed when it stops, and its anonymous volumes with it; one of Swarm's is replaced.
 * Raises USAGE.
 */
async function assertOutlivesStop(engine: EngineConnection, { id, name }: QuiescedContainer): Promise<void> {
  const info = await engine.docker.getContainer(id).inspect();
  const service = swarmServiceOf(info.Config.Labels);
  if (service !== undefined)
    throw new VolbakError(
      'USAGE',
      `container ${name} is a task of service ${service}: Swarm would start another one in its place`,
      { hint: 'Use --pause with a backup, or scale the service down yourself.' },
    );
  if (!info.HostConfig.AutoRemove) return;
  throw new VolbakError(
    'USAGE',
    `container ${name} was started with --rm: stopping it would remove it and its anonymous volumes`,
    { hint: 'Use --pause with a backup, or stop it yourself.' },
  );
}

async function halt(engine: EngineConnection, mode: QuiesceMode, id: string): Promise<void> {
  const container = engine.docker.getContainer(id);
  try {
    await (mode === 'stop' ? container.stop() : container.pause());
  } catch (error) {
    // 304: stopped already; 404 and 409: gone, or not running any more.
    if (![304, 404, 409].includes(statusOf(error) ?? 0)) throw error;
  }
}

async function resumeAll(
  engine: EngineConnection,
  mode: QuiesceMode,
  containers: readonly QuiescedContainer[],
): Promise<void> {
  const failed: string[] = [];
  for (const container of [...containers].reverse()) {
    try {
      await resumeOne(engine, mode, container);
    } catch (error) {
      failed.push(`${container.name} (${messageOf(error)})`);
    }
  }
  if (failed.length > 0) {
    throw new VolbakError('NOT_RESTARTED', `could not start again: ${failed.join(', ')}`, {
      hint: `Start it by hand: docker ${mode === 'stop' ? 'start' : 'unpause'} ${containers.map((c) => c.name).join(' ')}`,
    });
  }
}

/** Starts one again; one that was replaced meanwhile is found by its name, one that was removed needs nothing. */
async function resumeOne(
  engine: EngineConnection,
  mode: QuiesceMode,
  { id, name }: QuiescedContainer,
): Promise<void> {
  for (const reference of [id, name]) {
    const container = engine.docker.getContainer(reference);
    try {
      const { State } = await container.inspect();
      if (mode === 'pause' && State.Paused) await container.unpause();
      if (mode === 'stop' && !State.Running) await container.start();
      return;
    } catch (error) {
      if (statusOf(error) !== 404) throw error;
    }
  }
}

/** Starts what a killed run left stopped. Returns the names of what was started; notes of other engines stay. */
export async function resumeOrphans(
  engine: EngineConnection,
  journal: Journal<QuiesceNote>,
): Promise<string[]> {
  const started: string[] = [];
  for (const { body, note } of await journal.orphans()) {
    if (body.engineId !== engine.info.id) continue;
    await resumeAll(engine, body.mode, body.containers);
    await note.remove();
    started.push(...body.containers.map((c) => c.name));
  }
  return started;
}
