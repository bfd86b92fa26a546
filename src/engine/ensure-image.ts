import type { ImageInspectInfo } from 'dockerode';
import { VolbakError } from '../core/errors.ts';
import type { EngineConnection } from './connect.ts';
import { engineError } from './helper.ts';
import { engineMessage, followEngineCall, isNotFound } from './image-progress.ts';

const PULL_STALL_MS = 20_000;

/** The image as the engine describes it; undefined where it does not have it. */
export async function findImage(
  engine: EngineConnection,
  name: string,
): Promise<ImageInspectInfo | undefined> {
  try {
    return await engine.docker.getImage(name).inspect();
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw engineError(error, `cannot look for image ${name}`);
  }
}

/** `docker pull` without a tag means `latest`; the engine's API would pull all tags there are. */
function withTag(name: string): string {
  return /@|:[^/]*$/.test(name) ? name : `${name}:latest`;
}

/** An image of the user's, pulled where the engine does not have it. Raises NOT_FOUND_IN_ENGINE. */
export async function ensureImage(
  engine: EngineConnection,
  name: string,
  options: { signal: AbortSignal; log(message: string): void },
): Promise<ImageInspectInfo> {
  const local = await findImage(engine, name);
  if (local) return local;
  const missing = (why: string, cause?: unknown) =>
    new VolbakError(
      'NOT_FOUND_IN_ENGINE',
      `the engine ${engine.info.name} has no image '${name}', and ${why}`,
      {
        hint: `Check its name, or bring it there: docker pull ${name}, or docker save and docker load.`,
        cause,
      },
    );
  if (/^sha256:[0-9a-f]+$/.test(name)) throw missing('an id cannot be pulled');
  options.log(`pulling ${name}`);
  try {
    await followEngineCall(async (signal) => engine.docker.pull(withTag(name), { abortSignal: signal }), {
      signal: options.signal,
      stallMs: PULL_STALL_MS,
    });
  } catch (error) {
    options.signal.throwIfAborted();
    throw missing(`it could not be pulled: ${engineMessage(error)}`, error);
  }
  const pulled = await findImage(engine, name);
  if (!pulled) throw missing('it was not there after pulling it');
  return pulled;
}
