import type { ImageInspectInfo } from 'dockerode';
import { messageOf } from '../core/errors.ts';
import type { EngineConnection } from './connect.ts';
import { buildHelperImage, helperImageName, whyNotBuildable } from './image-build.ts';
import { engineMessage, followEngineCall, helperError, isNotFound } from './image-progress.ts';
import { HELPER_IMAGE_LABEL } from './labels.ts';

export { buildHelperImage, helperImageName } from './image-build.ts';
export { copyImage, exportImage, imageId, loadImage } from './image-copy.ts';
export { type HelperAbilities, inspectHelper, type RunInImage, type RunResult } from './image-inspect.ts';

/** The public image that has all that a helper needs. */
export const PUBLIC_HELPER_IMAGE = 'debian:stable-slim';

const PULL_STALL_MS = 20_000;

export interface HelperImage {
  name: string;
  id: string;
  /** 'own': of the container that volbak itself runs in. */
  origin: 'requested' | 'local' | 'own' | 'pulled' | 'built';
  /** The paths of the image's own VOLUMEs: each container of it gets anonymous ones, to be removed by name. */
  volumes: string[];
}

export interface ChooseOptions {
  /** volbak's own version. */
  version: string;
  /** The image of --helper-image or of the config: no other is taken then. */
  requested?: string | undefined;
  allowPull: boolean;
  allowBuild: boolean;
  signal?: AbortSignal | undefined;
  log?: ((message: string) => void) | undefined;
  /** A pull is given up after so long without progress. */
  pullStallMs?: number | undefined;
}

/** Finds, pulls or builds the image for helper containers; ends in one clear error where there is no way to one. */
export async function chooseHelperImage(
  engine: EngineConnection,
  options: ChooseOptions,
): Promise<HelperImage> {
  if (options.requested) return requestedImage(engine, options.requested, options);
  const own = helperImageName(options.version);
  const made = await findImage(engine, own);
  if (made) return toHelper(own, made, 'local');
  const around = await imageAround(engine);
  if (around) return around;
  const known = await findImage(engine, PUBLIC_HELPER_IMAGE);
  if (known) return toHelper(PUBLIC_HELPER_IMAGE, known, 'local');
  const obstacles: string[] = [];
  for (const way of [pullPublic, buildOwn]) {
    const helper = await way(engine, options, obstacles);
    if (helper) return helper;
  }
  throw helperError(
    `The engine at ${engine.endpoint.label} has no helper image and none can be had: ${obstacles.join('; ')}.`,
    `Name one with --helper-image, run "volbak helper build" where engine and machine are alike, or bring ${own} there with docker save and docker load.`,
  );
}

/** The image that volbak itself runs in, where that says of itself that it is fit for helpers: it is there already. */
async function imageAround(engine: EngineConnection): Promise<HelperImage | undefined> {
  const { ownContainer } = engine.info;
  const image = ownContainer && (await findImage(engine, ownContainer.image));
  if (!image || image.Config?.Labels?.[HELPER_IMAGE_LABEL] === undefined) return undefined;
  return toHelper(image.RepoTags?.[0] ?? image.Id, image, 'own');
}

async function requestedImage(
  engine: EngineConnection,
  name: string,
  options: ChooseOptions,
): Promise<HelperImage> {
  const local = await findImage(engine, name);
  if (local) return toHelper(name, local, 'requested');
  const where = `The helper image ${name} is not on the engine at ${engine.endpoint.label}`;
  if (!options.allowPull) {
    throw helperError(`${where}, and pulling is switched off.`, `Bring it there with: docker pull ${name}`);
  }
  try {
    await pull(engine, name, options);
  } catch (error) {
    options.signal?.throwIfAborted();
    throw helperError(
      `${where}, and it could not be pulled: ${engineMessage(error)}.`,
      'Check its name, docker pull it yourself where it needs a login, or leave --helper-image out.',
      error,
    );
  }
  const pulled = await findImage(engine, name);
  if (pulled) return toHelper(name, pulled, 'requested');
  throw helperError(
    `${where}, also after pulling it.`,
    `Look with: docker -H ${engine.endpoint.label} image ls`,
  );
}

async function pullPublic(
  engine: EngineConnection,
  options: ChooseOptions,
  obstacles: string[],
): Promise<HelperImage | undefined> {
  if (!options.allowPull) {
    obstacles.push('pulling is switched off');
    return undefined;
  }
  try {
    await pull(engine, PUBLIC_HELPER_IMAGE, options);
  } catch (error) {
    options.signal?.throwIfAborted();
    const obstacle = `${PUBLIC_HELPER_IMAGE} could not be pulled (${engineMessage(error)})`;
    options.log?.(obstacle);
    obstacles.push(obstacle);
    return undefined;
  }
  const image = await findImage(engine, PUBLIC_HELPER_IMAGE);
  return image && toHelper(PUBLIC_HELPER_IMAGE, image, 'pulled');
}

async function buildOwn(
  engine: EngineConnection,
  options: ChooseOptions,
  obstacles: string[],
): Promise<HelperImage | undefined> {
  const obstacle = whyNotBuild(engine, options);
  if (obstacle) {
    obstacles.push(obstacle);
    return undefined;
  }
  try {
    const name = await buildHelperImage(engine, options);
    const image = await findImage(engine, name);
    return image && toHelper(name, image, 'built');
  } catch (error) {
    options.signal?.throwIfAborted();
    obstacles.push(messageOf(error).replace(/\.$/, ''));
    return undefined;
  }
}

/** Only a local engine gets this machine's programs unasked. */
function whyNotBuild(engine: EngineConnection, options: ChooseOptions): string | undefined {
  if (!options.allowBuild) return 'building one is switched off';
  if (!engine.info.isLocal) return 'the engine is not local, so none is built unasked';
  return whyNotBuildable(engine);
}

async function pull(engine: EngineConnection, name: string, options: ChooseOptions): Promise<void> {
  options.log?.(`pulling ${name}`);
  await followEngineCall(async (signal) => engine.docker.pull(name, { abortSignal: signal }), {
    signal: options.signal,
    stallMs: options.pullStallMs ?? PULL_STALL_MS,
  });
}

async function findImage(engine: EngineConnection, name: string): Promise<ImageInspectInfo | undefined> {
  try {
    return await engine.docker.getImage(name).inspect();
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw helperError(
      `The engine at ${engine.endpoint.label} cannot say whether it has the image ${name}: ${engineMessage(error)}`,
      'Check the name of the image and the log of the engine.',
      error,
    );
  }
}

function toHelper(name: string, image: ImageInspectInfo, origin: HelperImage['origin']): HelperImage {
  return { name, id: image.Id, origin, volumes: Object.keys(image.Config?.Volumes ?? {}) };
}
