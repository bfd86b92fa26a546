import type { Duplex, Readable, Writable } from 'node:stream';
import type Dockerode from 'dockerode';
import { isVolbakError, messageOf, VolbakError } from '../core/errors.ts';
import type { EngineConnection } from './connect.ts';
import { demultiplex } from './demux.ts';
import { HELPER_LABEL, ownerLabels } from './labels.ts';

/** Capabilities that reading any volume takes, and no more. */
export const READ_CAPABILITIES = ['DAC_READ_SEARCH'];
/** What extracting takes: without FSETID the setgid bit, without SETFCAP capabilities are lost. */
export const WRITE_CAPABILITIES = ['DAC_OVERRIDE', 'CHOWN', 'FOWNER', 'FSETID', 'MKNOD', 'SETFCAP'];

/** A mount of a helper; volumes by name never take content from the image. */
export type HelperMount =
  | { type: 'volume'; source: string; target: string; readOnly: boolean }
  | { type: 'bind'; source: string; target: string; readOnly: boolean };

export interface HelperSpec {
  image: string;
  /** What the helper does, for its label. */
  purpose: string;
  /** A script for /bin/sh; its arguments are $1, $2, … */
  script: string;
  args?: string[];
  env?: Record<string, string>;
  mounts?: HelperMount[];
  /** A container whose mounts are attached read-only. */
  volumesFrom?: string;
  capabilities?: string[];
  /** True where the helper reads standard input. */
  stdin?: boolean;
}

/** A helper container at work. */
export interface Helper {
  readonly id: string;
  /** Its standard input; ending it is the end of file for the helper. */
  readonly stdin: Writable;
  /** Its standard output, read no faster than asked for. Must be read to its end. */
  readonly stdout: AsyncIterable<Buffer>;
  /** Resolves with the exit code when it ended. Raises HELPER_FAILED or ENGINE_UNREACHABLE. */
  readonly exit: Promise<number>;
  /** Removes the container, running or not; never a volume of the user's. Safe to call twice. */
  remove(): Promise<void>;
}

type StderrSink = (bytes: Buffer) => void;

/** Hides /etc of the image: no user names in ACLs, and no ld.so.preload that could be a volume's. */
const TMPFS = { '/etc': 'ro,size=64k,mode=755', '/tmp': 'mode=1777' };

function createOptions(engine: EngineConnection, spec: HelperSpec): Dockerode.ContainerCreateOptions {
  return {
    Image: spec.image,
    Entrypoint: ['/bin/sh', '-c', spec.script, 'volbak', ...(spec.args ?? [])],
    Cmd: [],
    Env: [
      'LC_ALL=C',
      'TZ=UTC',
      'PATH=/usr/bin:/bin:/usr/sbin:/sbin',
      ...Object.entries(spec.env ?? {}).map(([key, value]) => `${key}=${value}`),
    ],
    User: '0:0',
    WorkingDir: '/',
    AttachStdin: spec.stdin ?? false,
    AttachStdout: true,
    AttachStderr: true,
    OpenStdin: spec.stdin ?? false,
    StdinOnce: spec.stdin ?? false,
    Tty: false,
    Labels: { [HELPER_LABEL]: spec.purpose, ...ownerLabels(engine) },
    HostConfig: {
      // Never AutoRemove: with the source container gone, it would take its anonymous volumes along.
      AutoRemove: false,
      NetworkMode: 'none',
      ReadonlyRootfs: true,
      CapDrop: ['ALL'],
      CapAdd: spec.capabilities ?? [],
      SecurityOpt: ['no-new-privileges', ...(engine.info.selinux ? ['label=disable'] : [])],
      Tmpfs: TMPFS,
      // The data must not be written to the engine's disk as a log.
      LogConfig: { Type: 'none', Config: {} },
      ...(spec.volumesFrom === undefined ? {} : { VolumesFrom: [`${spec.volumesFrom}:ro`] }),
      Mounts: (spec.mounts ?? []).map((mount) => ({
        Type: mount.type,
        Source: mount.source,
        Target: mount.target,
        ReadOnly: mount.readOnly,
        ...(mount.type === 'volume' ? { VolumeOptions: { NoCopy: true } } : {}),
      })) as Dockerode.MountConfig,
    },
  };
}

/** Creates and starts a helper with its streams attached. Raises HELPER_FAILED or ENGINE_UNREACHABLE. */
export async function startHelper(
  engine: EngineConnection,
  spec: HelperSpec,
  onStderr: StderrSink,
): Promise<Helper> {
  const container = await wrap(spec, 'create', () =>
    engine.docker.createContainer(createOptions(engine, spec)),
  );
  let removed: Promise<void> | undefined;
  const remove = () => {
    removed ??= removeHelper(engine, container, spec).catch((error) => {
      removed = undefined;
      throw error;
    });
    return removed;
  };
  try {
    const socket = await wrap(spec, 'attach to', () => attachTo(engine, container.id, spec.stdin ?? false));
    // Nobody may be reading it yet when the connection is lost; whoever reads it then is told.
    socket.on('error', () => {});
    // Asked for before the start: a helper that ends at once must not be missed.
    const exit = waitForExit(engine, container.id, spec);
    exit.catch(() => {});
    await wrap(spec, 'start', () => container.start());
    return { id: container.id, stdin: socket, stdout: demultiplex(socket, onStderr), exit, remove };
  } catch (error) {
    await remove().catch(() => {});
    throw error;
  }
}

/** Attaches to a container's streams, by hand: dockerode's attach() sends its options as a body, which Podman feeds to the container. */
export function attachTo(engine: EngineConnection, id: string, stdin: boolean): Promise<Duplex> {
  const query = `stream=1&stdout=1&stderr=1${stdin ? '&stdin=1' : ''}&`;
  return new Promise((resolve, reject) => {
    engine.docker.modem.dial(
      {
        path: `/containers/${id}/attach?${query}`,
        method: 'POST',
        file: Buffer.alloc(0) as unknown as string,
        hijack: true,
        isStream: true,
        statusCodes: {
          101: true,
          200: true,
          400: 'bad parameter',
          404: 'no such container',
          500: 'server error',
        },
      } as Parameters<typeof engine.docker.modem.dial>[0],
      (error: unknown, socket: unknown) => (error ? reject(error) : resolve(socket as Duplex)),
    );
  });
}

/** A container's exit code; asked for before its start. Read by hand: docker-modem looks only for an answer's end, so an engine killed meanwhile would never be noticed. */
export async function waitForExit(
  engine: EngineConnection,
  id: string,
  spec: Pick<HelperSpec, 'purpose'>,
): Promise<number> {
  const answer = await wrap(spec, 'wait for', async () => {
    const parts: Buffer[] = [];
    for await (const part of await requestWait(engine, id)) parts.push(part as Buffer);
    return Buffer.concat(parts).toString();
  });
  const code = /"StatusCode":\s*(\d+)/.exec(answer)?.[1];
  if (code === undefined) {
    throw new VolbakError('HELPER_FAILED', `the engine did not say how the helper for ${spec.purpose} ended`);
  }
  return Number(code);
}

function requestWait(engine: EngineConnection, id: string): Promise<Readable> {
  return new Promise((resolve, reject) => {
    engine.docker.modem.dial(
      {
        path: `/containers/${id}/wait?condition=next-exit&`, // docker-modem cuts the last character off
        method: 'POST',
        isStream: true,
        statusCodes: { 200: true, 400: 'bad parameter', 404: 'no such container', 500: 'server error' },
      } as Parameters<typeof engine.docker.modem.dial>[0],
      (error: unknown, answer: unknown) => (error ? reject(error) : resolve(answer as Readable)),
    );
  });
}

/** Removes a helper; anonymous volumes only where the helper's own image brought them. */
async function removeHelper(
  engine: EngineConnection,
  container: Dockerode.Container,
  spec: Pick<HelperSpec, 'image'>,
): Promise<void> {
  const own = await imageVolumes(engine, container, spec.image);
  try {
    await container.remove({ force: true, v: false });
  } catch (error) {
    if (statusOf(error) !== 404) throw engineError(error, 'cannot remove a helper container');
  }
  for (const name of own)
    await engine.docker
      .getVolume(name)
      .remove()
      .catch(() => {});
}

/** Names of anonymous volumes that the helper image's own VOLUME lines made for this container. */
async function imageVolumes(
  engine: EngineConnection,
  container: Dockerode.Container,
  image: string,
): Promise<string[]> {
  try {
    const declared = (await engine.docker.getImage(image).inspect()).Config?.Volumes ?? {};
    if (Object.keys(declared).length === 0) return [];
    const { Mounts, HostConfig } = await container.inspect();
    const ours = new Set((HostConfig.Mounts ?? []).map((mount) => mount.Target));
    // What came from another container is that one's volume, also at the same place.
    const foreign = new Set<string | undefined>();
    for (const from of HostConfig.VolumesFrom ?? []) {
      const source = await engine.docker.getContainer(from.split(':')[0] ?? '').inspect();
      for (const mount of source.Mounts) foreign.add(mount.Name);
    }
    return Mounts.filter((m) => m.Destination in declared && !ours.has(m.Destination) && !foreign.has(m.Name))
      .map((m) => m.Name ?? '')
      .filter((name) => /^[0-9a-f]{64}$/.test(name));
  } catch {
    return [];
  }
}

/** HTTP status of an engine's refusal, if it is one. */
export function statusOf(error: unknown): number | undefined {
  return (error as { statusCode?: number }).statusCode;
}

/** An error of dockerode in our terms: no status means that the engine is out of reach. */
export function engineError(error: unknown, what: string): VolbakError {
  if (isVolbakError(error)) return error;
  const status = statusOf(error);
  const json = (error as { json?: { message?: string } }).json;
  if (status !== undefined) {
    return new VolbakError('HELPER_FAILED', `${what}: ${json?.message ?? messageOf(error)}`, {
      cause: error,
    });
  }
  return new VolbakError(
    'ENGINE_UNREACHABLE',
    `${what}: the engine cannot be reached (${messageOf(error)})`,
    {
      cause: error,
      hint: 'Check that the engine runs: `docker info`.',
    },
  );
}

async function wrap<T>(spec: Pick<HelperSpec, 'purpose'>, verb: string, call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    throw engineError(error, `cannot ${verb} the helper for ${spec.purpose}`);
  }
}

/** Removes helpers that a killed run left on this host. Returns how many. */
export async function removeLeftover(engine: EngineConnection, id: string, image: string): Promise<void> {
  await removeHelper(engine, engine.docker.getContainer(id), { image });
}
