import { stat } from 'node:fs/promises';
import type { ScheduleCheck } from '../config/load.ts';
import type { ConfigFile } from '../config/schema.ts';
import { systemClock } from '../core/clock.ts';
import type { Runtime } from './runtime.ts';

/** What counts where there is no volbak.yaml: jobs come from labels alone. */
const LABELS_ALONE = 'labels: { prune: "@weekly" }\n';

/** Where the configuration is from. */
export interface ConfigOrigin {
  /** For messages. */
  name: string;
  /** What it says, where it is in no file. */
  text?: string;
  /** Nobody wrote one. */
  labelsAlone: boolean;
}

/** The configuration: --config, VOLBAK_CONFIG, the text in VOLBAK_YAML, volbak.yaml in this directory, or labels alone. */
export async function configOrigin({ options, environment }: Runtime): Promise<ConfigOrigin> {
  const { DEFAULT_CONFIG } = await import('../config/load.ts');
  const named = options.config ?? environment.config;
  if (named !== undefined) return { name: named, labelsAlone: false };
  if (environment.yaml !== undefined)
    return { name: 'VOLBAK_YAML', text: environment.yaml, labelsAlone: false };
  const there = await stat(DEFAULT_CONFIG).then(
    () => true,
    (error: NodeJS.ErrnoException) => error.code !== 'ENOENT',
  );
  if (there) return { name: DEFAULT_CONFIG, labelsAlone: false };
  return { name: 'labels alone', text: LABELS_ALONE, labelsAlone: true };
}

/** Reads and checks the configuration. Raises CONFIG. */
export async function readConfig(runtime: Runtime): Promise<ConfigFile> {
  const [{ loadConfig, parseConfig }, check, { name, text }] = await Promise.all([
    import('../config/load.ts'),
    scheduleCheck(),
    configOrigin(runtime),
  ]);
  const { raw } = runtime.environment;
  return text === undefined ? loadConfig(name, raw, check) : parseConfig(text, name, raw, check);
}

export async function scheduleCheck(): Promise<ScheduleCheck> {
  const { scheduleProblem } = await import('../schedule/cron.ts');
  return (schedule, zone) => scheduleProblem(schedule, zone, systemClock.now());
}

/** This machine's time zone. */
export function systemZone(): string {
  return Intl.DateTimeFormat().resolvedOptions().timeZone;
}
