import { processState } from '../core/process-identity.ts';
import type { EngineConnection } from './connect.ts';
import { engineError, removeLeftover, statusOf } from './helper.ts';
import { HELPER_LABEL, OWNER_CONTAINER_LABEL, OWNER_LABEL } from './labels.ts';

export interface Leftover {
  id: string;
  name: string;
  image: string;
  /** 'elsewhere': made by a volbak on another host, so nobody here can tell whether it still works. */
  state: 'dead' | 'elsewhere';
}

/** Helpers whose volbak is dead, or ran on another host or in a container that still runs. */
export async function findLeftovers(engine: EngineConnection): Promise<Leftover[]> {
  const helpers = await engine.docker.listContainers({ all: true, filters: { label: [HELPER_LABEL] } });
  const found: Leftover[] = [];
  for (const { Id, Names, Image, Labels } of helpers) {
    const state = await stateOfOwner(engine, Labels);
    if (state !== 'alive')
      found.push({ id: Id, name: (Names[0] ?? Id).replace(/^\//, ''), image: Image, state });
  }
  return found;
}

async function stateOfOwner(engine: EngineConnection, labels: Record<string, string>) {
  const state = processState(labels[OWNER_LABEL] ?? '');
  const container = labels[OWNER_CONTAINER_LABEL];
  if (state !== 'elsewhere' || container === undefined) return state;
  return (await isRunning(engine, container)) ? 'elsewhere' : 'dead';
}

async function isRunning(engine: EngineConnection, container: string): Promise<boolean> {
  try {
    return (await engine.docker.getContainer(container).inspect()).State.Running;
  } catch (error) {
    if (statusOf(error) === 404) return false;
    throw engineError(error, `cannot inspect container ${container}`);
  }
}

/** Removes helpers that killed runs on this host, or in containers of this engine, left behind. Returns how many. */
export async function sweepLeftovers(engine: EngineConnection): Promise<number> {
  let removed = 0;
  for (const { id, image, state } of await findLeftovers(engine)) {
    if (state !== 'dead') continue;
    await removeLeftover(engine, id, image);
    removed++;
  }
  return removed;
}

/** How many helpers of a process run in an engine. */
export async function helpersAtWork(engine: EngineConnection, owner: string): Promise<number> {
  const filters = { label: [`${OWNER_LABEL}=${owner}`], status: ['running'] };
  return (await engine.docker.listContainers({ all: true, filters })).length;
}
