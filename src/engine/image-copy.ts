import { type Readable, Transform } from 'node:stream';
import { VolbakError } from '../core/errors.ts';
import type { EngineConnection } from './connect.ts';
import { engineMessage, followEngineCall, helperError, isNotFound } from './image-progress.ts';

export interface CopyOptions {
  signal?: AbortSignal | undefined;
  log?: ((message: string) => void) | undefined;
}

const STALL_MS = 120_000;

/** An image of an engine as the tar of `docker save`. */
export async function exportImage(engine: EngineConnection, name: string): Promise<Readable> {
  try {
    return (await engine.docker.getImage(name).get()) as Readable;
  } catch (error) {
    if (isNotFound(error)) {
      throw new VolbakError(
        'NOT_FOUND_IN_ENGINE',
        `The engine at ${engine.endpoint.label} has no image ${name}.`,
        {
          hint: `Look with: docker -H ${engine.endpoint.label} image ls`,
          cause: error,
        },
      );
    }
    throw copyError(`could not be read from ${engine.endpoint.label}`, name, error);
  }
}

/** Loads the tar of `docker save` into an engine. */
export async function loadImage(
  engine: EngineConnection,
  tar: Readable,
  name: string,
  options: CopyOptions = {},
): Promise<void> {
  let counted: Transform | undefined;
  try {
    await followEngineCall(
      (signal, progress) => {
        counted = countedStream(tar, progress);
        return engine.docker.loadImage(counted, { quiet: true, abortSignal: signal });
      },
      { signal: options.signal, stallMs: STALL_MS },
    );
  } catch (error) {
    options.signal?.throwIfAborted();
    throw copyError(`could not be loaded into ${engine.endpoint.label}`, name, error);
  } finally {
    tar.destroy();
    counted?.destroy();
  }
}

/** Reports each chunk that is sent as progress, and passes on what breaks the source: pipe() alone does not. */
function countedStream(source: Readable, progress: () => void): Transform {
  const counted = new Transform({
    transform(chunk, _encoding, done) {
      progress();
      done(null, chunk);
    },
  });
  source.once('error', (error) => counted.destroy(error));
  return source.pipe(counted);
}

/** Brings an image from one engine to another by save and load; does nothing where it is there already. */
export async function copyImage(
  from: EngineConnection,
  to: EngineConnection,
  name: string,
  options: CopyOptions = {},
): Promise<void> {
  if (await hasSameImage(from, to, name)) return;
  options.log?.(`copying image ${name} from ${from.endpoint.label} to ${to.endpoint.label}`);
  await loadImage(to, await exportImage(from, name), name, options);
  if (!(await imageId(to, name))) {
    throw copyError(`is not there after loading it into ${to.endpoint.label}`, name, undefined);
  }
}

async function hasSameImage(from: EngineConnection, to: EngineConnection, name: string): Promise<boolean> {
  const [ours, theirs] = await Promise.all([imageId(from, name), imageId(to, name)]);
  return ours !== undefined && ours === theirs;
}

/** The id of an image, undefined where the engine lacks it. */
export async function imageId(engine: EngineConnection, name: string): Promise<string | undefined> {
  try {
    return (await engine.docker.getImage(name).inspect()).Id;
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw copyError(`cannot be inspected on ${engine.endpoint.label}`, name, error);
  }
}

function copyError(what: string, name: string, cause: unknown) {
  const why = cause === undefined ? '.' : `: ${engineMessage(cause)}`;
  return helperError(
    `The image ${name} ${what}${why}`,
    'Make sure that the engine has space left, then try again.',
    cause,
  );
}
