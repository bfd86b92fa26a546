import { VolbakError } from '../../core/errors.ts';
import { ensureImage, findImage } from '../../engine/ensure-image.ts';
import {
  type OwnStart,
  ownStart,
  type Service,
  type ServiceSpec,
  startService,
} from '../../engine/service.ts';
import type { Manifest } from '../../repository/manifest.ts';
import { entrypointOf } from '../handle/plan.ts';
import type { RestoreDeps } from '../restore/restore.ts';
import { healthOf, type Outcome, runCheck, runCheckAlone, untilHealthy } from './service.ts';
import type { DrillOptions } from './types.ts';

export interface Launched {
  service: Service;
  /** How it was started. */
  spec: ServiceSpec;
  outcome: Outcome;
}

const START_TIMEOUT_MS = 120_000;
const CHECK_TIMEOUT_MS = 300_000;
const NOTHING_TO_START: Outcome = { passed: true, detail: 'the image has no command of its own' };

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
 * How the container itself starts, where it is still on this engine and no other image or command is asked for. A snapshot
 * does not know: there may be secrets in commands and environments.
 */
async function startOf(
  { ctx }: RestoreDeps,
  { source }: Manifest,
  imageId: string,
  { image, recipe }: DrillOptions,
): Promise<OwnStart | undefined> {
  if (image !== undefined || recipe?.image !== undefined || recipe?.command !== undefined) return undefined;
  if (source.kind !== 'container') return undefined;
  return ownStart(ctx.engine, source.name, imageId);
}

/** An image without a command, and nobody who says how to start it: there is no service. */
function lacksCommand({ Config }: Awaited<ReturnType<typeof ensureImage>>, spec: ServiceSpec): boolean {
  const words = [spec.entrypoint, spec.cmd, Config.Entrypoint, Config.Cmd];
  return words.every((list) => (list ?? []).length === 0);
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
  const own = await startOf(deps, manifest, image.Id, options);
  const volumes = placesOf(manifest, scratch, recipe?.mount);
  const spec: ServiceSpec = {
    name,
    image: image.Id,
    entrypoint: entrypointOf(recipe) ?? own?.entrypoint,
    cmd: own?.cmd,
    user: recipe?.user ?? own?.user,
    workingDir: own?.workingDir,
    env: {
      ...own?.env,
      VOLBAK_VOLUMES: volumes.map(({ target }) => target).join(':'),
      ...recipe?.environment,
      ...options.env,
    },
    volumes,
    keep: options.keep,
  };
  const bare = lacksCommand(image, spec);
  if (bare) spec.entrypoint = entrypointOf({ command: recipe?.start ?? 'exit 0' });
  const service = await startService(ctx.engine, spec);
  const timeoutMs = options.timeoutMs ?? recipe?.timeout ?? START_TIMEOUT_MS;
  try {
    if (bare && recipe?.start === undefined) return { service, spec, outcome: NOTHING_TO_START };
    const { Healthcheck } = image.Config as { Healthcheck?: { Test?: string[] } };
    const health = recipe?.health ?? healthOf(own?.health ?? Healthcheck?.Test);
    return { service, spec, outcome: await untilHealthy(ctx.engine, service, health, timeoutMs, env) };
  } catch (error) {
    await service.remove().catch(() => {});
    throw error;
  }
}

/** The recipe's or the given check; undefined where there is none. */
export async function checkService(
  { ctx, env }: RestoreDeps,
  { service, spec }: Launched,
  { check, recipe, timeoutMs }: DrillOptions,
): Promise<Outcome | undefined> {
  const probe = check === undefined ? recipe?.check : { command: check };
  if (!probe) return undefined;
  const limit = timeoutMs ?? recipe?.check?.timeout ?? CHECK_TIMEOUT_MS;
  if ((await service.exitCode()) === undefined) return runCheck(ctx.engine, service, probe, limit, env);
  return runCheckAlone(ctx.engine, spec, probe, limit, env);
}
