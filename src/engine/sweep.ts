import { processState } from '../core/process-identity.ts';
import type { EngineConnection } from './connect.ts';
import { removeLeftover } from './helper.ts';
import { HELPER_LABEL, OWNER_LABEL } from './labels.ts';

export interface Leftover {
  id: string;
  name: string;
  image: string;
  /** 'elsewhere': made by a volbak on another host, so nobody here can tell whether it still works. */
  state: 'dead' | 'elsewhere';
}

/** Helpers whose volbak is dead, or ran on another host. */
export async function findLeftovers(engine: EngineConnection): Promise<Leftover[]> {
  const helpers = await engine.docker.listContainers({ all: true, filters: { label: [HELPER_LABEL] } });
  const found: Leftover[] = [];
  for (const { Id, Names, Image, Labels } of helpers) {
    const state = processState(Labels[OWNER_LABEL] ?? '');
    if (state !== 'alive')
      found.push({ id: Id, name: (Names[0] ?? Id).replace(/^\//, ''), image: Image, state });
  }
  return found;
}

/** Removes helpers that killed runs on this host left behind. Returns how many. */
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
