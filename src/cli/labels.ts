import type { KnownRecipes, LabelJobs } from '../config/labels.ts';
import type { ConfigFile } from '../config/schema.ts';
import { isVolbakError } from '../core/errors.ts';
import type { Discover } from '../daemon/found.ts';
import type { EngineConnection } from '../engine/connect.ts';
import { scheduleCheck } from './config.ts';
import type { Runtime } from './runtime.ts';

/** Where the engine is whose labels count. */
function hostOf({ labels, defaults }: ConfigFile): string | undefined {
  return labels?.host ?? defaults.host;
}

/** What the built-in recipes can do: labels name no files. */
async function knownRecipes(): Promise<KnownRecipes> {
  const { builtInRecipes } = await import('../recipes/load.ts');
  return new Map(
    (await builtInRecipes()).flatMap(({ name, aliases, handler, drill }) => {
      const known = {
        drill: drill !== undefined,
        ...(handler?.capture === undefined ? {} : { capture: handler.capture }),
      };
      return [name, ...aliases].map((each) => [each, known] as const);
    }),
  );
}

async function jobsOf(
  config: ConfigFile,
  { info }: EngineConnection,
  containers: Awaited<ReturnType<typeof import('../engine/watch.ts')['listContainers']>>,
): Promise<LabelJobs> {
  const { labelJobs } = await import('../config/labels.ts');
  return labelJobs(config, containers, {
    engine: info.name,
    recipes: await knownRecipes(),
    checkSchedule: await scheduleCheck(),
  });
}

export interface WithLabels {
  config: ConfigFile;
  /** How many labels are wrong; each was told as a warning. */
  problems: number;
}

/** The configuration with the jobs of labels, which it asks the engine for. Raises ENGINE_UNREACHABLE. */
export async function withLabelJobs(runtime: Runtime, config: ConfigFile): Promise<WithLabels> {
  if (!config.labels?.enable) return { config, problems: 0 };
  const { listContainers } = await import('../engine/watch.ts');
  const { joined } = await import('../daemon/jobs.ts');
  const engine = await runtime.connectOnly(hostOf(config));
  const found = await jobsOf(config, engine, await listContainers(engine, runtime.signal));
  for (const { container, message } of found.problems)
    runtime.output.emit({ event: 'warning', message: `container ${container}: ${message}` });
  return { config: joined(config, found), problems: found.problems.length };
}

/** The same; where the engine does not answer, the configuration alone, with a warning. */
export async function withLabelJobsIfThere(runtime: Runtime, config: ConfigFile): Promise<WithLabels> {
  try {
    return await withLabelJobs(runtime, config);
  } catch (error) {
    if (!isVolbakError(error, 'ENGINE_UNREACHABLE')) throw error;
    const message = `labels of containers were not looked at: ${error.message}`;
    runtime.output.emit({ event: 'warning', message });
    return { config, problems: 0 };
  }
}

/** Follows the labels of containers for the daemon, as its engine tells. */
export function discoverLabels(runtime: Runtime): Discover {
  return async (config, finder, signal) => {
    const { watchContainers } = await import('../engine/watch.ts');
    await watchContainers({
      connect: (own) => runtime.connectOnly(hostOf(config), own),
      seen: async (engine, containers) => finder.found(await jobsOf(config, engine, containers)),
      lost: (error) => finder.lost(error),
      signal,
    });
  };
}
