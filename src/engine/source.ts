import type Dockerode from 'dockerode';
import { VolbakError } from '../core/errors.ts';
import type { EngineConnection } from './connect.ts';
import { engineError, statusOf } from './helper.ts';
import { findTaskContainer, lastingName, swarmServiceOf } from './swarm-task.ts';
import { maskSecrets } from './volume-options.ts';

/** A volume (or, on request, a bind mount) to be backed up. */
export interface SourceVolume {
  name: string;
  anonymous: boolean;
  /** Where the container mounts it: more than one where it is mounted twice, none for a volume by itself. */
  destinations: string[];
  /** Set where the container sees only a part of it; the whole volume is backed up. */
  subpath?: string;
  /** Path on the engine's host, for a bind mount. */
  bind?: string;
  driver: string;
  driverOpts: Record<string, string>;
  maskedOpts: string[];
  labels: Record<string, string>;
}

/** A mount that is no volume and stays out. */
export interface LeftOutMount {
  type: string;
  destination: string;
  source?: string;
}

export interface SourceContainer {
  id: string;
  name: string;
  image: string;
  imageId: string;
  composeProject?: string;
  composeService?: string;
}

/** What a name given on the command line stands for. */
export interface ResolvedSource {
  kind: 'container' | 'volume';
  name: string;
  container?: SourceContainer;
  volumes: SourceVolume[];
  /** Where the container mounts volumes that were not chosen: they come along with `--volumes-from` all the same. */
  unchosen?: string[];
  leftOut: LeftOutMount[];
}

/** A mount as /containers/ID/json lists it. */
export type InspectedMount = Dockerode.ContainerInspectInfo['Mounts'][number];

/** Docker makes up such names for volumes without one. */
export function isAnonymous(name: string): boolean {
  return /^[0-9a-f]{64}$/.test(name);
}

/** Raises NOT_FOUND_IN_ENGINE where there is no such container. */
export async function inspectContainer(
  engine: EngineConnection,
  name: string,
): Promise<Dockerode.ContainerInspectInfo> {
  const inspect = (id: string) => engine.docker.getContainer(id).inspect();
  try {
    return await inspect(name);
  } catch (error) {
    if (statusOf(error) !== 404) throw engineError(error, `cannot inspect container ${name}`);
    const task = await findTaskContainer(engine, name);
    if (task !== undefined) return inspect(task);
    throw new VolbakError(
      'NOT_FOUND_IN_ENGINE',
      `there is no container '${name}' in the engine ${engine.info.name}`,
      {
        hint: '`docker ps -a` lists containers. For a volume by itself: --volume <name>.',
      },
    );
  }
}

/** Characters with which a name would lead to something else in the engine's API; no volume has them. */
const NO_NAME = /[/\\%?#\0-\x20\x7f]|^\.{0,2}$/;

/** False for what can be no volume's name, whatever its driver. */
export function canNameVolume(name: string): boolean {
  return !NO_NAME.test(name);
}

/** The volume as the engine describes it; undefined where it does not exist. */
export async function findVolume(
  engine: EngineConnection,
  name: string,
): Promise<Dockerode.VolumeInspectInfo | undefined> {
  if (!canNameVolume(name)) return undefined;
  try {
    return await engine.docker.getVolume(name).inspect();
  } catch (error) {
    if (statusOf(error) === 404) return undefined;
    throw engineError(error, `cannot inspect volume ${name}`);
  }
}

async function describeVolume(engine: EngineConnection, name: string): Promise<SourceVolume> {
  const info = await findVolume(engine, name);
  if (!info) {
    throw new VolbakError(
      'NOT_FOUND_IN_ENGINE',
      `there is no volume '${name}' in the engine ${engine.info.name}`,
      {
        hint: '`docker volume ls` lists volumes.',
      },
    );
  }
  const { options, masked } = maskSecrets(info.Options ?? {});
  return {
    name,
    anonymous: isAnonymous(name),
    destinations: [],
    driver: info.Driver,
    driverOpts: options,
    maskedOpts: masked,
    labels: info.Labels ?? {},
  };
}

/** A volume by its name. Raises NOT_FOUND_IN_ENGINE: a missing volume is never an empty backup. */
export async function resolveVolume(engine: EngineConnection, name: string): Promise<ResolvedSource> {
  return { kind: 'volume', name, volumes: [await describeVolume(engine, name)], leftOut: [] };
}

/** A container with all its volumes, running or not; bind mounts only on request. */
export async function resolveContainer(
  engine: EngineConnection,
  name: string,
  options: { includeBinds?: boolean } = {},
): Promise<ResolvedSource> {
  const info = await inspectContainer(engine, name);
  const labels = info.Config.Labels ?? {};
  const container: SourceContainer = {
    id: info.Id,
    name: info.Name.replace(/^\//, ''),
    image: info.Config.Image,
    imageId: info.Image,
    ...optional('composeProject', labels['com.docker.compose.project']),
    ...optional('composeService', labels['com.docker.compose.service']),
  };
  const volumes = new Map<string, SourceVolume>();
  const leftOut: LeftOutMount[] = [];
  // The engine lists mounts in no order that lasts.
  const mounts = info.Mounts.toSorted((a, b) => (a.Destination < b.Destination ? -1 : 1));
  for (const mount of mounts) {
    if (mount.Type === 'volume' && mount.Name) {
      const volume = volumes.get(mount.Name) ?? (await describeVolume(engine, mount.Name));
      volume.destinations.push(mount.Destination);
      const subpath = subpathOf(info, mount.Destination);
      if (subpath !== undefined) volume.subpath ??= subpath;
      volumes.set(mount.Name, volume);
    } else if (mount.Type === 'bind' && options.includeBinds) {
      volumes.set(`bind:${mount.Destination}`, bindVolume(mount));
    } else {
      leftOut.push({
        type: mount.Type,
        destination: mount.Destination,
        ...optional('source', mount.Source || undefined),
      });
    }
  }
  const lasting = lastingName(container.name, labels);
  return { kind: 'container', name: lasting, container, volumes: [...volumes.values()], leftOut };
}

function bindVolume(mount: InspectedMount): SourceVolume {
  return {
    name: `bind:${mount.Destination}`,
    anonymous: false,
    destinations: [mount.Destination],
    bind: mount.Source,
    driver: 'bind',
    driverOpts: {},
    maskedOpts: [],
    labels: {},
  };
}

function subpathOf(info: Dockerode.ContainerInspectInfo, destination: string): string | undefined {
  const mount = (info.HostConfig.Mounts ?? []).find((m) => m.Target === destination);
  return (mount?.VolumeOptions as { Subpath?: string } | undefined)?.Subpath || undefined;
}

function optional<K extends string>(key: K, value: string | undefined): { [P in K]?: string } {
  return (value === undefined ? {} : { [key]: value }) as { [P in K]?: string };
}

/** Names of all containers that have at least one volume, sorted. */
export async function containersWithVolumes(engine: EngineConnection): Promise<string[]> {
  const containers = await engine.docker.listContainers({ all: true });
  return (
    containers
      .filter((c) => c.Mounts.some((mount) => mount.Type === 'volume'))
      .filter((c) => !Object.keys(c.Labels ?? {}).some((label) => label.startsWith('io.volbak.')))
      // Swarm keeps the containers of earlier tasks beside the one that runs now.
      .filter((c) => c.State === 'running' || swarmServiceOf(c.Labels) === undefined)
      .map((c) => (c.Names[0] ?? c.Id).replace(/^\//, ''))
      .sort()
  );
}

/** Containers that have a volume mounted, running or not. */
export async function containersUsing(
  engine: EngineConnection,
  volume: string,
): Promise<Dockerode.ContainerInfo[]> {
  const found = await engine.docker.listContainers({ all: true, filters: { volume: [volume] } });
  // The filter matches mount destinations too.
  return found.filter((c) => c.Mounts.some((mount) => mount.Type === 'volume' && mount.Name === volume));
}
