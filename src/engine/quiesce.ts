import type Dockerode from 'dockerode';
import { messageOf, VolbakError } from '../core/errors.ts';
import type { Journal } from '../core/journal.ts';
import type { EngineConnection } from './connect.ts';
import { engineError, statusOf } from './helper.ts';
import { HELPER_LABEL } from './labels.ts';
import { findVolume } from './source.ts';
import { type RunningContainer, stopOrder } from './stop-order.ts';
import { swarmServiceOf } from './swarm-task.ts';

/** Directory of the journal of what was stopped, below the state directory. */
export const QUIESCE_JOURNAL = 'quiesced';

export type QuiesceMode = 'stop' | 'pause';

export interface QuiescedContainer {
  id: string;
  name: string;
}

/** What a journal must hold to start everything again, in the order in which it was stopped. */
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
 * Who has to stand still: every running container that uses one of the volumes (by name) or bind mounts (by path on the
 * host), not only the one that was named, as Docker does no locking; before a stop also whoever shares a namespace with one
 * of them. In the order in which to stop them. Raises USAGE where a stop would lose data.
 */
export async function planQuiesce(
  engine: EngineConnection,
  mode: QuiesceMode,
  volumes: readonly string[],
): Promise<QuiescedContainer[]> {
  // Helpers of other runs are theirs; and the container that volbak runs in would start nothing again.
  const own = engine.info.ownContainer?.id;
  const listed = (await runningContainers(engine)).filter(
    ({ Id, State, Labels }) => halts(mode, State) && Labels?.[HELPER_LABEL] === undefined && Id !== own,
  );
  const isMeant = (mount: Dockerode.ContainerInfo['Mounts'][number]) =>
    volumes.includes((mount.Type === 'volume' ? mount.Name : mount.Source) ?? '');
  const users = new Set(listed.filter(({ Mounts }) => Mounts.some(isMeant)).map(({ Id }) => Id));
  if (users.size === 0) return [];
  const running: Running[] = [];
  for (const container of listed) {
    const found = await describe(engine, container);
    if (found) running.push(found);
  }
  const order = stopOrder(running, users);
  // Whoever shares a namespace with what is paused only has to wait.
  const list = mode === 'stop' ? order : order.filter(({ id }) => users.has(id));
  if (mode === 'stop') {
    for (const container of list) assertOutlivesStop(container);
    await assertNotInMemory(engine, volumes);
  }
  return list.map(({ id, name }) => ({ id, name }));
}

async function runningContainers(engine: EngineConnection): Promise<Dockerode.ContainerInfo[]> {
  try {
    return await engine.docker.listContainers();
  } catch (error) {
    throw engineError(error, 'cannot list the containers that run');
  }
}

/** One that is being started again and again may write in the middle; but only one that runs can be paused. */
function halts(mode: QuiesceMode, state: string): boolean {
  return state === 'running' || (mode === 'stop' && state === 'restarting');
}

interface Running extends RunningContainer {
  autoRemove: boolean;
}

/** Undefined where it is gone meanwhile. */
async function describe(
  engine: EngineConnection,
  { Id, Names, Labels }: Dockerode.ContainerInfo,
): Promise<Running | undefined> {
  try {
    const { HostConfig } = await engine.docker.getContainer(Id).inspect();
    const { NetworkMode, PidMode, IpcMode, AutoRemove } = HostConfig;
    return {
      id: Id,
      name: (Names[0] ?? Id).replace(/^\//, ''),
      labels: Labels ?? {},
      modes: [NetworkMode, PidMode, IpcMode].filter((name) => name !== undefined),
      autoRemove: AutoRemove ?? false,
    };
  } catch (error) {
    if (statusOf(error) === 404) return undefined;
    throw engineError(error, 'cannot look at the containers that run');
  }
}

/** Stops or pauses containers in their order. What is stopped is written to the journal first. */
export async function quiesce(
  engine: EngineConnection,
  mode: QuiesceMode,
  list: readonly QuiescedContainer[],
  journal: Journal<QuiesceNote>,
): Promise<Quiesced> {
  if (list.length === 0) return { containers: [], resume: async () => {}, release: async () => {} };
  const note = await journal.write({ engineId: engine.info.id, mode, containers: [...list] });
  /** Without those that had stopped by themselves meanwhile: they are not ours to start. */
  const halted: QuiescedContainer[] = [];
  let resumed: Promise<void> | undefined;
  const resume = () => {
    resumed ??= resumeAll(engine, mode, halted).then(() =>
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
    for (const container of list) {
      // What a failed request did is not known.
      halted.push(container);
      if (!(await halt(engine, mode, container.id))) halted.pop();
    }
  } catch (error) {
    await resume();
    throw new VolbakError(
      'HANDLER_FAILED',
      `cannot ${mode} the containers that use the volume: ${messageOf(error)}`,
      { cause: error },
    );
  }
  return { containers: halted, resume, release };
}

/**
 * A container of `docker run --rm` is removed when it stops, and its anonymous volumes with it; one of Swarm's is replaced.
 * Raises USAGE.
 */
function assertOutlivesStop({ name, labels, autoRemove }: Running): void {
  const service = swarmServiceOf(labels);
  if (service !== undefined)
    throw new VolbakError(
      'USAGE',
      `container ${name} is a task of service ${service}: Swarm would start another one in its place`,
      { hint: 'Use --pause with a backup, or scale the service down yourself.' },
    );
  if (!autoRemove) return;
  throw new VolbakError(
    'USAGE',
    `container ${name} was started with --rm: stopping it would remove it and its anonymous volumes`,
    { hint: 'Use --pause with a backup, or stop it yourself.' },
  );
}

/** A volume in memory is emptied when the last container that uses it stops. Raises USAGE. */
async function assertNotInMemory(engine: EngineConnection, volumes: readonly string[]): Promise<void> {
  for (const volume of volumes) {
    if ((await findVolume(engine, volume))?.Options?.type !== 'tmpfs') continue;
    throw new VolbakError(
      'USAGE',
      `volume ${volume} lives in memory: its content is gone once what uses it is stopped`,
      { hint: 'Use --pause with a backup.' },
    );
  }
}

/** False where it had stopped already. */
async function halt(engine: EngineConnection, mode: QuiesceMode, id: string): Promise<boolean> {
  const container = engine.docker.getContainer(id);
  try {
    await (mode === 'stop' ? container.stop() : container.pause());
    return true;
  } catch (error) {
    // 304: stopped already; 404 and 409: gone, or not running any more.
    if (![304, 404, 409].includes(statusOf(error) ?? 0)) throw error;
    return false;
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
