import type { EngineConnection } from './connect.ts';

type Labels = Readonly<Record<string, string>> | undefined;

/** The service whose task a container is, where Swarm made it. */
export function swarmServiceOf(labels: Labels): string | undefined {
  return labels?.['com.docker.swarm.task.id'] === undefined
    ? undefined
    : labels['com.docker.swarm.service.name'];
}

/**
 * A container's name that lasts: Swarm puts the task's id at the end, and each new task is a new container. What stays is
 * `<service>.<slot>`, of a global service `<service>.<node>`.
 */
export function lastingName(name: string, labels: Labels): string {
  const task = labels?.['com.docker.swarm.task.id'];
  return task !== undefined && name.endsWith(`.${task}`) ? name.slice(0, -task.length - 1) : name;
}

/** The id of the container that has a lasting name now; the newest where none runs. */
export async function findTaskContainer(engine: EngineConnection, name: string): Promise<string | undefined> {
  const all = await engine.docker.listContainers({
    all: true,
    filters: { label: ['com.docker.swarm.task.id'] },
  });
  const found = all.filter(({ Names, Labels }) =>
    Names.some((own) => lastingName(own.replace(/^\//, ''), Labels) === name),
  );
  // The engine lists the newest first.
  return (found.find(({ State }) => State === 'running') ?? found[0])?.Id;
}
