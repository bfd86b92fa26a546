import type Dockerode from 'dockerode';
import { VolbakError } from '../core/errors.ts';
import type { EngineConnection } from './connect.ts';
import { engineError, statusOf } from './helper.ts';
import { engineMessage } from './image-progress.ts';

/** A machine of a Swarm. */
export interface SwarmNode {
  id: string;
  /** Its host name: what snapshots made there have as their host. */
  name: string;
  /** It answers its manager. */
  ready: boolean;
  /** `active`, or what an administrator made it: `pause` and `drain` get no new work. */
  availability: string;
}

/** A service as the Swarm knows it. */
export interface SwarmService {
  id: string;
  name: string;
  labels: Record<string, string>;
  spec: Dockerode.ServiceSpec;
}

/** Of the stack's service of volbak; see recipes/swarm. */
export const FLEET_SERVICE_LABEL = 'io.volbak.fleet';

/** Raises NOT_FOUND_IN_ENGINE where the engine is no manager of a Swarm. */
export async function listNodes(engine: EngineConnection): Promise<SwarmNode[]> {
  const nodes: NodeAnswer[] = await swarmCall(engine, 'cannot list the nodes', () =>
    engine.docker.listNodes(),
  );
  return nodes
    .map(({ ID, Spec, Description, Status }) => ({
      id: ID,
      name: Description?.Hostname ?? ID,
      ready: Status?.State === 'ready',
      availability: Spec?.Availability ?? 'active',
    }))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

interface NodeAnswer {
  ID: string;
  Spec?: { Availability?: string };
  Description?: { Hostname?: string };
  Status?: { State?: string };
}

/**
 * The service whose tasks run volbak on each node: the one that was named, or the one that says so by its label. Raises
 * NOT_FOUND_IN_ENGINE, also where several say so.
 */
export async function findFleetService(
  engine: EngineConnection,
  name: string | undefined,
): Promise<SwarmService> {
  const services = await listServices(engine, name === undefined ? FLEET_SERVICE_LABEL : undefined);
  const found =
    name === undefined ? services : services.filter((service) => [service.id, service.name].includes(name));
  const [only] = found;
  if (only && found.length === 1) return only;
  const what = name === undefined ? `with the label ${FLEET_SERVICE_LABEL}` : `'${name}'`;
  throw new VolbakError(
    'NOT_FOUND_IN_ENGINE',
    only
      ? `several services have the label ${FLEET_SERVICE_LABEL}: ${found.map((s) => s.name).join(', ')}`
      : `the Swarm has no service ${what}`,
    {
      hint: only
        ? 'Name one with --service.'
        : '`docker stack deploy --compose-file recipes/swarm/stack.yml volbak` starts it.',
    },
  );
}

/** Services, all or those with a label. */
export async function listServices(engine: EngineConnection, label?: string): Promise<SwarmService[]> {
  const filters = label === undefined ? {} : { filters: { label: [label] } };
  const services = await swarmCall(engine, 'cannot list services', () => engine.docker.listServices(filters));
  return services.map(({ ID, Spec }) => ({
    id: ID ?? '',
    name: Spec?.Name ?? '',
    labels: Spec?.Labels ?? {},
    spec: (Spec ?? {}) as Dockerode.ServiceSpec,
  }));
}

/** Calls the Swarm's API. Raises NOT_FOUND_IN_ENGINE where the engine is no manager of one. */
export async function swarmCall<T>(
  engine: EngineConnection,
  what: string,
  call: () => Promise<T>,
): Promise<T> {
  try {
    return await call();
  } catch (error) {
    if (statusOf(error) !== 503) throw engineError(error, `${what} of the Swarm`);
    throw new VolbakError(
      'NOT_FOUND_IN_ENGINE',
      `the engine ${engine.info.name} is no manager of a Swarm: ${engineMessage(error)}`,
      { hint: 'Name a manager with --host; `docker swarm init` makes one.', cause: error },
    );
  }
}
