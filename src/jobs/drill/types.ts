import type { DrillRecipe } from '../../recipes/schema.ts';
import type { Difference } from './compare.ts';

export interface DrillOptions {
  /** In place of the snapshot's image. */
  image?: string;
  recipe?: DrillRecipe;
  /** A script to run in the service, in place of the recipe's check. */
  check?: string;
  env: Readonly<Record<string, string>>;
  /** For getting healthy, and again for the check. */
  timeoutMs?: number;
  /** Leave volumes and service where they are. */
  keep: boolean;
}

export interface DrillCheck {
  name: string;
  passed: boolean;
  detail: string;
  durationMs: number;
}

export interface DrillResult {
  source: string;
  snapshot: string;
  started: string;
  passed: boolean;
  /** Time to restore the volumes. */
  restoreMs: number;
  /** Recovery time: to restore them and until the service is healthy; comparing is no part of it. Null: never. */
  rtoMs: number | null;
  durationMs: number;
  checks: DrillCheck[];
  /** Members that are not what the snapshot says, by volume; the first thousand. */
  differences: (Difference & { volume: string })[];
  /** With --keep. */
  kept?: { container?: string; volumes: string[] };
}
