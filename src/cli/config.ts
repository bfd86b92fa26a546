import { systemClock } from '../core/clock.ts';
import type { Runtime } from './runtime.ts';

/** The configuration file: --config, VOLBAK_CONFIG, or volbak.yaml in this directory. */
export async function configFile({ options, environment }: Runtime): Promise<string> {
  const { DEFAULT_CONFIG } = await import('../config/load.ts');
  return options.config ?? environment.config ?? DEFAULT_CONFIG;
}

/** Reads and checks the configuration. Raises CONFIG. */
export async function readConfig(runtime: Runtime) {
  const [{ loadConfig }, { scheduleProblem }] = await Promise.all([
    import('../config/load.ts'),
    import('../schedule/cron.ts'),
  ]);
  return loadConfig(await configFile(runtime), runtime.environment.raw, (schedule, zone) =>
    scheduleProblem(schedule, zone, systemClock.now()),
  );
}

/** This machine's time zone. */
export function systemZone(): string {
  return Intl.DateTimeFormat().resolvedOptions().timeZone;
}
