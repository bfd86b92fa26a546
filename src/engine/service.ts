import type Dockerode from 'dockerode';
import type { EngineConnection } from './connect.ts';
import { engineError, removeLeftover, statusOf } from './helper.ts';
import { HELPER_LABEL, ownerLabels, SCRATCH_LABEL } from './labels.ts';

/** A service started on scratch volumes, without network. */
export interface ServiceSpec {
  name: string;
  /** Id of the image. */
  image: string;
  /** In place of the image's entrypoint and command. */
  entrypoint?: readonly string[] | undefined;
  /** In place of the image's command; arguments of `entrypoint` where that is given. */
  cmd?: readonly string[] | undefined;
  user?: string | undefined;
  workingDir?: string | undefined;
  env: Readonly<Record<string, string>>;
  volumes: readonly { volume: string; target: string }[];
  /** It shall stay when the run is over: then it has no label by which leftovers are removed. */
  keep: boolean;
}

export interface Service {
  readonly id: string;
  readonly name: string;
  /** Undefined while it runs, then its exit code. */
  exitCode(): Promise<number | undefined>;
  /** Its last lines. */
  log(): Promise<string[]>;
  /** Removes it, running or not, with the anonymous volumes that its image brought. */
  remove(): Promise<void>;
}

function createOptions(engine: EngineConnection, spec: ServiceSpec): Dockerode.ContainerCreateOptions {
  const owner: Record<string, string> = spec.keep ? {} : { [HELPER_LABEL]: 'drill', ...ownerLabels(engine) };
  return {
    name: spec.name,
    Image: spec.image,
    ...(spec.entrypoint ? { Entrypoint: [...spec.entrypoint], Cmd: [...(spec.cmd ?? [])] } : {}),
    ...(spec.cmd && !spec.entrypoint ? { Cmd: [...spec.cmd] } : {}),
    ...(spec.user === undefined ? {} : { User: spec.user }),
    ...(spec.workingDir === undefined ? {} : { WorkingDir: spec.workingDir }),
    Env: Object.entries(spec.env).map(([key, value]) => `${key}=${value}`),
    Labels: { [SCRATCH_LABEL]: 'drill', ...owner },
    // Asked by us, many times a second: the image's own interval would be part of the recovery time.
    Healthcheck: { Test: ['NONE'] },
    HostConfig: {
      AutoRemove: false,
      NetworkMode: 'none',
      SecurityOpt: engine.info.selinux ? ['label=disable'] : [],
      LogConfig: { Type: 'json-file', Config: { 'max-size': '1m', 'max-file': '1' } },
      Mounts: spec.volumes.map(({ volume, target }) => ({
        Type: 'volume',
        Source: volume,
        Target: target,
        ReadOnly: false,
        // What was restored is all: an empty volume must not be filled from the image.
        VolumeOptions: { NoCopy: true },
      })) as Dockerode.MountConfig,
    },
  };
}

/** Creates and starts a service. Raises HELPER_FAILED in the engine's words; then nothing is left of it. */
export async function startService(engine: EngineConnection, spec: ServiceSpec): Promise<Service> {
  const container = await engine.docker
    .createContainer(createOptions(engine, spec))
    .catch((error: unknown) => {
      throw engineError(error, 'the service could not be created');
    });
  const remove = () => removeLeftover(engine, container.id, spec.image);
  try {
    await container.start();
  } catch (error) {
    await remove().catch(() => {});
    throw engineError(error, 'the service could not be started');
  }
  return {
    id: container.id,
    name: spec.name,
    async exitCode() {
      const { State } = await container.inspect();
      return State.Running ? undefined : State.ExitCode;
    },
    log: () => lastLines(container),
    remove,
  };
}

/** How a container is started, as far as a service on other volumes can be started so. */
export interface OwnStart extends Pick<ServiceSpec, 'entrypoint' | 'cmd' | 'user' | 'workingDir' | 'env'> {
  /** Its health check as Docker has it. */
  health: readonly string[] | undefined;
}

/**
 * How a container of this name starts; undefined where there is none, or one of another image. Of use on the engine where the
 * container is: snapshots do not keep commands and environments, as there may be secrets in them.
 */
export async function ownStart(
  engine: EngineConnection,
  name: string,
  imageId: string,
): Promise<OwnStart | undefined> {
  const info = await engine.docker
    .getContainer(name)
    .inspect()
    .catch((error: unknown) => {
      if (statusOf(error) === 404) return undefined;
      throw engineError(error, `cannot look for container ${name}`);
    });
  if (!info || info.Image !== imageId) return undefined;
  const { Entrypoint, Cmd, User, WorkingDir, Env, Healthcheck } = info.Config;
  const listed = (words: string | string[] | null | undefined) =>
    typeof words === 'string' ? [words] : words;
  return {
    entrypoint: listed(Entrypoint as string | string[] | null) ?? undefined,
    cmd: listed(Cmd) ?? undefined,
    user: User || undefined,
    workingDir: WorkingDir || undefined,
    health: Healthcheck?.Test,
    env: Object.fromEntries(
      (Env ?? []).map((line) => [line.split('=', 1)[0], line.slice(line.indexOf('=') + 1)]),
    ),
  };
}

/** Docker puts eight bytes before each piece; pieces are lines here. */
async function lastLines(container: Dockerode.Container): Promise<string[]> {
  const bytes = await container
    .logs({ stdout: true, stderr: true, tail: 10, follow: false })
    .catch(() => Buffer.alloc(0));
  const lines: string[] = [];
  const log = Buffer.from(bytes);
  for (let at = 0; at + 8 <= log.length; ) {
    const length = log.readUInt32BE(at + 4);
    lines.push(...log.toString('utf8', at + 8, at + 8 + length).split('\n'));
    at += 8 + length;
  }
  return lines.filter((line) => line.trim() !== '');
}
