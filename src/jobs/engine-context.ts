import type { EngineConnection } from '../engine/connect.ts';

export type LaneKind = 'pipe' | 'attach';

/** An engine with what a command found out about it. */
export interface EngineContext {
  engine: EngineConnection;
  /** Image of the helpers. */
  image: string;
  /** How data leaves and enters helpers; 'auto' until the first helper was asked. */
  lane: LaneKind | 'auto';
  signal?: AbortSignal;
}
