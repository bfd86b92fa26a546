import type { ConfigFile } from '../config/schema.ts';
import type { Clock } from '../core/clock.ts';
import type { Program } from './child.ts';
import type { Discover } from './found.ts';
import type { Log } from './log.ts';

/** What a daemon works with. */
export interface DaemonOptions {
  readConfig(): Promise<ConfigFile>;
  /** Looks for jobs from labels. */
  discover: Discover;
  program: Program;
  /** Global options for every command that it starts. */
  manners: readonly string[];
  stateDirectory: string;
  systemZone: string;
  version: string;
  clock: Clock;
  log: Log;
  /** Ends the daemon. */
  signal: AbortSignal;
  /** In place of what the configuration says. */
  listen: string | undefined;
  /** Tells the service manager. */
  notify(...words: string[]): Promise<void>;
}
