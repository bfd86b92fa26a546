import type { Clock } from '../core/clock.ts';
import type { EventSink } from '../core/events.ts';

/** What every job is given. */
export interface JobEnvironment {
  emit: EventSink;
  clock: Clock;
  /** Aborts the job: it cleans up and raises the signal's reason. */
  signal: AbortSignal;
  /** Directory for journals. */
  stateDirectory: string;
  /** Directory for what may be lost. */
  cacheDirectory: string;
  /** Version of volbak. */
  version: string;
  /** Segments on their way to the store at once. */
  parallel?: number;
  /** Reads on their way from the store at once. */
  readAhead?: number;
  /** Keep indexes on this host: the repository is far away. */
  cacheIndexes?: boolean;
}
