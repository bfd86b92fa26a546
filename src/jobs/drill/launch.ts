import { VolbakError } from '../../core/errors.ts';
import { ensureImage, findImage } from '../../engine/ensure-image.ts';
import { type Service, startService } from '../../engine/service.ts';
import type { Manifest } from '../../repository/manifest.ts';
import { entrypointOf } from '../handle/plan.ts';
import type { RestoreDeps } from '../restore/restore.ts';
import { healthOf, type Outcome, runCheck, untilHealthy } from './service.ts';
import type { DrillOptions } from './types.ts';

export interface Launched {
  service: Service;
  outcome: Outcome;
}

const START_TIMEOUT_MS = 120_000;
const CHECK_TIMEOUT_MS = 300_000;

/** The image to start: the one that was asked for, else the very one that the container had, else the one of its name. */
async function imageOf(
  { ctx }: RestoreDeps,
  { source, volumes }: Manifest,
  options: DrillOptions,
): Promise<string | undefined> {
  const asked = options.image ?? options.recipe?.image;
  if (asked !== undefined) return asked;
  // A captured file is nothing that the container's service could start on.
  if (volumes.every((volume) => volume.captured)) return undefined;
  if (source.imageId !== undefined && (await findImage(ctx.engine, source.imageId))) return source.imageId;
  return source.image;
}

/** Where each scratch volume goes: the mount paths it had; one that had none below /volumes or where the recipe says. */
function placesOf(
  manifest: Manifest,
  scratch: ReadonlyMap<string, string>,
  mount: string | undefined,
): { volume: string; target: string }[] {
  return manifest.volumes.flatMap(({ name, destinations, subpath }) => {
    if (subpath !== undefined) {
      throw new VolbakError(
        'HELPER_FAILED',
        `the container mounted only ${subpath} of volume ${name}, and a drill cannot mount a part of one`,
      );
    }
    const volume = scratch.get(name) as string;
    const targets =
      destinations.length > 0 ? destinations : [mount ?? `/volumes/${name.replace(/^bind:/, '')}`];
    return targets.map((target) => ({ volume, target }));
  });
}

/**
 * Starts the service on the scratch volumes and waits until it is healthy. Undefined where no image is known: then there
 * is nothing to start.
 */
export async function launch(
  deps: RestoreDeps,
  manifest: Manifest,
  scratch: ReadonlyMap<string, string>,
  options: DrillOptions,
  name: string,
): Promise<Launched | undefined> {
  const { ctx, env } = deps;
  const { recipe } = options;
  const wanted = await imageOf(deps, manifest, options);
  if (wanted === undefined) {
    env.emit({
      event: 'info',
      message: 'nothing is started: the snapshot names no image; --image names one',
    });
    return undefined;
  }
  const image = await ensureImage(ctx.engine, wanted, {
    signal: env.signal,
    log: (message) => env.emit({ event: 'info', message }),
  });
  const volumes = placesOf(manifest, scratch, recipe?.mount);
  const service = await startService(ctx.engine, {
    name,
    image: image.Id,
    entrypoint: entrypointOf(recipe),
    user: recipe?.user,
    env: {
      VOLBAK_VOLUMES: volumes.map(({ target }) => target).join(':'),
      ...recipe?.environment,
      ...options.env,
    },
    volumes,
    keep: options.keep,
  });
  const { Healthcheck } = image.Config as { Healthcheck?: { Test?: string[] } };
  const timeoutMs = options.timeoutMs ?? recipe?.timeout ?? START_TIMEOUT_MS;
  try {
    const health = recipe?.health ?? healthOf(Healthcheck?.Test);
    return { service, outcome: await untilHealthy(ctx.engine, service, health, timeoutMs, env) };
  } catch (error) {
    await service.remove().catch(() => {});
    throw error;
  }
}

/** The recipe's or the given check; undefined where there is none. */
export async function checkService(
  { ctx, env }: RestoreDeps,
  service: Service,
  { check, recipe, timeoutMs }: DrillOptions,
): Promise<Outcome | undefined> {
  const probe = check === undefined ? recipe?.check : { command: check };
  if (!probe) return undefined;
  const limit = timeoutMs ?? recipe?.check?.timeout ?? CHECK_TIMEOUT_MS;
  return runCheck(ctx.engine, service, probe, limit, env);
}
