import type Dockerode from 'dockerode';
import { VolbakError } from '../core/errors.ts';
import { sleep } from '../core/sleep.ts';
import type { EngineConnection } from './connect.ts';
import { demultiplex } from './demux.ts';
import { attachTo, engineError, type HelperMount, removeLeftover, waitForExit } from './helper.ts';
import { HELPER_LABEL, ownerLabels } from './labels.ts';
import { putSecrets } from './secret-files.ts';

/** A container of the user's own making that works on another one's volumes. */
export interface HandlerSpec {
  image: string;
  /** In place of the image's entrypoint; its command is dropped then. */
  entrypoint?: readonly string[] | undefined;
  args: readonly string[];
  /** Id of the container whose mounts it gets. */
  volumesFrom: string;
  /** May write into the volumes, as far as that container may. */
  readWrite: boolean;
  /** Shares that container's network; else it has none. */
  network: boolean;
  env: Readonly<Record<string, string>>;
  secrets: ReadonlyMap<string, Buffer>;
  mounts: readonly HelperMount[];
  user?: string | undefined;
  /** Limit in bytes. */
  memory?: number | undefined;
  /** It is ended after so many milliseconds. */
  timeoutMs?: number | undefined;
}

export interface HandlerEnd {
  exitCode: number;
  /** The memory limit ended it. */
  outOfMemory: boolean;
}

/** How a handler's output is taken; stdout is read no faster than asked for. */
export interface HandlerStreams {
  stdout(stream: AsyncIterable<Buffer>): Promise<void>;
  stderr(bytes: Buffer): void;
}

function createOptions(engine: EngineConnection, spec: HandlerSpec): Dockerode.ContainerCreateOptions {
  return {
    Image: spec.image,
    ...(spec.entrypoint ? { Entrypoint: [...spec.entrypoint] } : {}),
    ...(spec.args.length > 0 || spec.entrypoint ? { Cmd: [...spec.args] } : {}),
    ...(spec.user === undefined ? {} : { User: spec.user }),
    Env: Object.entries(spec.env).map(([key, value]) => `${key}=${value}`),
    AttachStdout: true,
    AttachStderr: true,
    Tty: false,
    Labels: { [HELPER_LABEL]: 'handler', ...ownerLabels(engine) },
    HostConfig: {
      // Never AutoRemove: with the source container gone, it would take its anonymous volumes along.
      AutoRemove: false,
      NetworkMode: spec.network ? `container:${spec.volumesFrom}` : 'none',
      VolumesFrom: [spec.readWrite ? spec.volumesFrom : `${spec.volumesFrom}:ro`],
      SecurityOpt: engine.info.selinux ? ['label=disable'] : [],
      // A dump must not be written to the engine's disk as a log.
      LogConfig: { Type: 'none', Config: {} },
      ...(spec.memory === undefined ? {} : { Memory: spec.memory, MemorySwap: spec.memory }),
      Mounts: spec.mounts.map((mount) => ({
        Type: mount.type,
        Source: mount.source,
        Target: mount.target,
        ReadOnly: mount.readOnly,
      })) as Dockerode.MountConfig,
    },
  };
}

/**
 * Runs a handler to its end and removes it, on every way out. Its exit code is the caller's to judge. Raises what taking
 * its output raises, HANDLER_FAILED where it could not start or took too long, and the signal's reason.
 */
export async function runHandler(
  engine: EngineConnection,
  spec: HandlerSpec,
  streams: HandlerStreams,
  signal: AbortSignal,
): Promise<HandlerEnd> {
  signal.throwIfAborted();
  const container = await engine.docker
    .createContainer(createOptions(engine, spec))
    .catch((error: unknown) => {
      throw startError(error, 'create');
    });
  const deadline = new AbortController();
  const ended = AbortSignal.any([signal, deadline.signal]);
  let removed: Promise<void> | undefined;
  const remove = () => {
    removed ??= removeLeftover(engine, container.id, spec.image);
    return removed;
  };
  const onEnd = () => void remove().catch(() => {});
  ended.addEventListener('abort', onEnd);
  let timer: NodeJS.Timeout | undefined;
  try {
    await putSecrets(container, spec.secrets);
    ended.throwIfAborted();
    const socket = await attachTo(engine, container.id, false);
    const exit = waitForExit(engine, container.id, { purpose: 'a handler' });
    exit.catch(() => {});
    await container.start().catch((error: unknown) => {
      throw startError(error, 'start');
    });
    if (spec.timeoutMs !== undefined) {
      timer = setTimeout(() => deadline.abort(tookTooLong(spec.timeoutMs as number)), spec.timeoutMs);
    }
    await streams.stdout(demultiplex(socket, streams.stderr));
    const exitCode = await endOf(container, exit);
    ended.throwIfAborted();
    return { exitCode, outOfMemory: exitCode === 137 && (await diedOfMemory(container)) };
  } catch (error) {
    ended.throwIfAborted();
    throw error;
  } finally {
    clearTimeout(timer);
    ended.removeEventListener('abort', onEnd);
    await remove();
  }
}

/** How long a handler may go on after its output has ended. */
const LINGER_MS = 10_000;

/**
 * A connection that breaks may look like a clean end of the output, above all over ssh: then the handler still runs. A
 * dump that ended before its program did is not kept.
 */
async function endOf(container: Dockerode.Container, exit: Promise<number>): Promise<number> {
  const first = await Promise.race([exit, sleep(LINGER_MS)]);
  if (first !== undefined) return first;
  if (!(await container.inspect()).State.Running) return exit;
  throw new VolbakError(
    'HANDLER_FAILED',
    "the handler's output ended, but the handler runs on: the connection to the engine broke",
    { hint: 'Run it again.' },
  );
}

async function diedOfMemory(container: Dockerode.Container): Promise<boolean> {
  const info = await container.inspect().catch(() => undefined);
  return (info?.State as { OOMKilled?: boolean } | undefined)?.OOMKilled === true;
}

function tookTooLong(ms: number): VolbakError {
  return new VolbakError('HANDLER_FAILED', `the handler did not end within ${ms / 1000} s and was killed`, {
    hint: 'Give it more time with --timeout.',
  });
}

function startError(error: unknown, verb: string): VolbakError {
  const known = engineError(error, `cannot ${verb} the handler`);
  if (known.code !== 'HELPER_FAILED') return known;
  return new VolbakError('HANDLER_FAILED', known.message, { cause: error });
}
