import type { JobTask } from '../../engine/swarm-job.ts';

/** How a node did its share. */
export interface NodeResult {
  node: string;
  nodeId: string;
  /** As the Swarm calls the end of its task; `down` and `not started` where there was no end. */
  state: JobTask['state'];
  /** Exit code of volbak there; of a node that ran nothing, the one for an engine out of reach. */
  exit: number;
  /** What it printed last: the summary of a command that does something, the document of one that shows something. */
  result?: unknown;
  error?: { code?: string; message: string; hint?: string };
}

export interface FleetOptions {
  /** The service whose tasks run volbak on each node; by its label unless told. */
  service?: string;
  /** For starting on a node: images are pulled, other tasks have to make room. */
  startTimeoutMs: number;
  /** For all of it; none unless told. */
  timeoutMs?: number;
}
