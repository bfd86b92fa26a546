import type { ContainerPlan } from '../../engine/recreate.ts';
import type { ResolvedSource } from '../../engine/source.ts';
import type { VolumeSpec } from '../../engine/volumes.ts';
import type { EngineContext } from '../engine-context.ts';
import type { JobEnvironment } from '../environment.ts';
import type { Hooks } from '../hooks.ts';

export interface MigrateDeps {
  env: JobEnvironment;
  from: EngineContext;
  to: EngineContext;
}

export interface MigrateOptions {
  rename: ReadonlyMap<string, string>;
  /** The containers that were stopped stay so. */
  keepSourceStopped: boolean;
  /** The container is made there, too; started only where the source stays stopped. */
  withContainer: boolean;
  /** Compare all before anything is started again. */
  verifyBeforeStart: boolean;
  /** Run in the source container: before the stop, and after it. */
  hooks: Hooks;
}

export interface VolumePlan {
  /** Its name at the source. */
  from: string;
  /** The volume at the target. */
  spec: VolumeSpec;
}

/** What a migration would do, for --dry-run. */
export interface MigratePlan {
  source: ResolvedSource;
  volumes: VolumePlan[];
  container?: ContainerPlan;
}

export interface MigratedVolume {
  /** Its name at the target. */
  name: string;
  /** Its name at the source. */
  from: string;
  /** 1 where nothing was stopped and nothing had changed. */
  passes: number;
  /** How long what uses it stood still. */
  downtimeMs: number;
  digest: string;
  /** `all`: the target was read as a whole after all that was written; `parts`: each part once it was written. */
  compared: 'all' | 'parts';
  entries: number;
  /** Bytes of tar that each pass sent. */
  liveBytes: number;
  secondBytes: number;
}

export interface MigrateResult {
  volumes: MigratedVolume[];
  downtimeMs: number;
  /** Names of the containers that were stopped. */
  stopped: string[];
  /** What was made there. */
  container?: { name: string; started: boolean };
}
