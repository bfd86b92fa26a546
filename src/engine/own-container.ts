import type Dockerode from 'dockerode';
import { containerId, containerOf } from '../core/process-identity.ts';
import type { EngineConnection } from './connect.ts';

/** The container that this process runs in, where the engine that it works on runs that. */
export interface OwnContainer {
  id: string;
  /** Id of its image. */
  image: string;
}

/** Undefined outside of a container, in one of another engine, and where a proxy keeps the answer back. */
export async function findOwnContainer(
  docker: Dockerode,
  id = containerId(),
): Promise<OwnContainer | undefined> {
  if (id === undefined) return undefined;
  try {
    const { Id, Image } = await docker.getContainer(id).inspect();
    return { id: Id, image: Image };
  } catch {
    return undefined;
  }
}

/**
 * Tells of processes that share this one's state directory whether their container has ended: a container that was made
 * anew is another one. They are of this engine if this process is. Else nothing is known of any.
 */
export async function endedContainers({
  docker,
  info,
}: EngineConnection): Promise<(owner: string) => boolean> {
  if (info.ownContainer === undefined) return () => false;
  const running = new Set((await docker.listContainers()).map(({ Id }) => Id.slice(0, 12)));
  return (owner) => {
    const container = containerOf(owner);
    return container !== undefined && !running.has(container);
  };
}
