import type Dockerode from 'dockerode';
import { VolbakError } from '../core/errors.ts';
import type { EngineConnection } from './connect.ts';
import { engineError, statusOf } from './helper.ts';
import { copyImage, imageId } from './image-copy.ts';
import { inspectContainer } from './source.ts';

/** A container as it is, to be made again on another engine. */
export interface ContainerPlan {
  name: string;
  wasRunning: boolean;
  /** How the image is called there: its name, or its id where the name means another image or none. */
  image: string;
  /** Host directories that it mounts: they are not moved. */
  binds: string[];
  info: Dockerode.ContainerInspectInfo;
}

const PREDEFINED = ['default', 'bridge', 'host', 'none'];

/**
 * Looks whether a container can be made again on another engine. Raises USAGE, NOT_FOUND_IN_ENGINE (networks that the target
 * lacks) or TARGET_NOT_EMPTY (a container of that name), before anything was done.
 */
export async function planContainer(
  from: EngineConnection,
  to: EngineConnection,
  name: string,
): Promise<ContainerPlan> {
  const info = await inspectContainer(from, name);
  const own = info.Name.replace(/^\//, '');
  assertAlone(info, own);
  await assertNameFree(to, own);
  await assertNetworks(to, info);
  return {
    name: own,
    wasRunning: info.State.Running,
    image: await imageFor(from, to, info),
    binds: info.Mounts.filter((mount) => mount.Type === 'bind').map((mount) => mount.Source),
    info,
  };
}

function assertAlone({ HostConfig }: Dockerode.ContainerInspectInfo, name: string): void {
  const shared = [HostConfig.NetworkMode, HostConfig.PidMode, HostConfig.IpcMode].find((mode) =>
    mode?.startsWith('container:'),
  );
  if (shared === undefined) return;
  throw new VolbakError(
    'USAGE',
    `container ${name} shares a namespace with another container, and cannot be moved without it`,
    { hint: 'Leave --with-container out, and make both containers there yourself.' },
  );
}

async function assertNameFree(to: EngineConnection, name: string): Promise<void> {
  try {
    await to.docker.getContainer(name).inspect();
  } catch (error) {
    if (statusOf(error) === 404) return;
    throw engineError(error, `cannot look for container ${name}`);
  }
  throw new VolbakError(
    'TARGET_NOT_EMPTY',
    `the engine ${to.info.name} has a container named ${name} already`,
    {
      hint: 'Remove or rename it there, or leave --with-container out.',
    },
  );
}

/** Networks that the container is in, other than those that every engine has. */
function networksOf({ NetworkSettings }: Dockerode.ContainerInspectInfo): string[] {
  return Object.keys(NetworkSettings.Networks ?? {}).filter((name) => !PREDEFINED.includes(name));
}

async function assertNetworks(to: EngineConnection, info: Dockerode.ContainerInspectInfo): Promise<void> {
  const wanted = networksOf(info);
  if (wanted.length === 0) return;
  const there = new Set((await to.docker.listNetworks()).map(({ Name }) => Name));
  const missing = wanted.filter((name) => !there.has(name));
  if (missing.length === 0) return;
  throw new VolbakError(
    'NOT_FOUND_IN_ENGINE',
    `the engine ${to.info.name} lacks networks of the container: ${missing.join(', ')}`,
    { hint: `Make them there: ${missing.map((name) => `docker network create ${name}`).join('; ')}` },
  );
}

/** A name that means another image at the target is left alone there. */
async function imageFor(
  from: EngineConnection,
  to: EngineConnection,
  { Image, Config }: Dockerode.ContainerInspectInfo,
): Promise<string> {
  const theirs = await imageId(to, Config.Image);
  const free = theirs === undefined || theirs === Image;
  return free && (await imageId(from, Config.Image)) === Image ? Config.Image : Image;
}

/** Brings the container's image there unless it is there. */
export function copyImageOf(
  plan: ContainerPlan,
  from: EngineConnection,
  to: EngineConnection,
  options: { signal: AbortSignal; log(message: string): void },
): Promise<void> {
  return copyImage(from, to, plan.image, options);
}

/** Makes the container, not started; its volumes under their new names. Answers with its id. Raises HELPER_FAILED. */
export async function recreateContainer(
  to: EngineConnection,
  plan: ContainerPlan,
  volumes: ReadonlyMap<string, string>,
): Promise<string> {
  const [first, ...others] = networksOf(plan.info);
  let id: string | undefined;
  try {
    const container = await to.docker.createContainer(createOptions(plan, volumes, first));
    id = container.id;
    for (const name of others)
      await to.docker
        .getNetwork(name)
        .connect({ Container: id, EndpointConfig: endpointOf(plan.info, name) });
    return id;
  } catch (error) {
    if (id !== undefined) await removeContainer(to, id).catch(() => {});
    throw engineError(error, `container ${plan.name} could not be made on ${to.info.name}`);
  }
}

/** Starts what `recreateContainer` made. Raises HELPER_FAILED. */
export async function startContainer(to: EngineConnection, id: string, name: string): Promise<void> {
  try {
    await to.docker.getContainer(id).start();
  } catch (error) {
    throw engineError(error, `container ${name} could not be started on ${to.info.name}`);
  }
}

/** Takes it away again; never a volume. */
export async function removeContainer(to: EngineConnection, id: string): Promise<void> {
  await to.docker.getContainer(id).remove({ force: true, v: false });
}

function createOptions(
  { info, name, image }: ContainerPlan,
  volumes: ReadonlyMap<string, string>,
  network: string | undefined,
): Dockerode.ContainerCreateOptions {
  const { Hostname, ...config } = info.Config;
  const { Binds: _, VolumesFrom: __, Mounts: given = [], ...host } = info.HostConfig;
  const rest = (given as Dockerode.MountSettings[]).filter(
    ({ Type }) => Type !== 'volume' && Type !== 'bind',
  );
  return {
    ...config,
    name,
    Image: image,
    // What Docker made up from the id, or took from the host, is made up anew.
    ...(info.Id.startsWith(Hostname) || host.NetworkMode === 'host' ? {} : { Hostname }),
    HostConfig: { ...host, Mounts: [...mountsOf(info, volumes), ...rest] },
    ...(network === undefined
      ? {}
      : { NetworkingConfig: { EndpointsConfig: { [network]: endpointOf(info, network) } } }),
  } as Dockerode.ContainerCreateOptions;
}

/** Volumes under their new names, never filled from the image; host directories as they were, which must be there. */
function mountsOf(
  info: Dockerode.ContainerInspectInfo,
  volumes: ReadonlyMap<string, string>,
): Dockerode.MountSettings[] {
  return info.Mounts.filter(({ Type }) => Type === 'volume' || Type === 'bind').map((mount) => ({
    Type: mount.Type as Dockerode.MountType,
    Source: mount.Type === 'volume' ? (volumes.get(mount.Name ?? '') as string) : mount.Source,
    Target: mount.Destination,
    ReadOnly: !mount.RW,
    ...(mount.Type === 'volume'
      ? { VolumeOptions: { NoCopy: true } as Dockerode.MountSettings['VolumeOptions'] }
      : {}),
  })) as Dockerode.MountSettings[];
}

/** Fixed addresses and aliases of a network; what an engine made up stays there. */
function endpointOf(info: Dockerode.ContainerInspectInfo, network: string): Dockerode.EndpointSettings {
  const endpoint = info.NetworkSettings.Networks[network] as unknown as Dockerode.EndpointSettings;
  const aliases = (endpoint.Aliases ?? []).filter((alias) => !info.Id.startsWith(alias));
  return {
    ...(endpoint.IPAMConfig ? { IPAMConfig: endpoint.IPAMConfig } : {}),
    ...(aliases.length > 0 ? { Aliases: aliases } : {}),
  } as Dockerode.EndpointSettings;
}
