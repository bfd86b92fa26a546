import { Journal } from '../core/journal.ts';
import type { EngineConnection } from '../engine/connect.ts';
import {
  planQuiesce,
  QUIESCE_JOURNAL,
  type Quiesced,
  type QuiesceMode,
  type QuiesceNote,
  quiesce,
} from '../engine/quiesce.ts';
import type { JobEnvironment } from './environment.ts';
import { type Hooks, type HookTarget, withHooks } from './hooks.ts';

/** What shall stand still while something is read, and what is told before and after. */
export interface Hold {
  engine: EngineConnection;
  /** Without it nothing is stopped. */
  mode: QuiesceMode | undefined;
  /** Volumes whose containers are meant; of bind mounts their paths on the host. */
  volumes: readonly string[];
  hooks: Hooks;
  /** Where the hooks run. */
  target: HookTarget | undefined;
}

export interface Held<T> {
  result: T;
  /** How long containers stood still, from the first request until all ran again; 0 where none was running. */
  downtimeMs: number;
}

/** Stops or pauses what uses the volumes, with a journal. `onHalt` is called when it begins. */
export async function halt(
  env: Pick<JobEnvironment, 'stateDirectory'>,
  engine: EngineConnection,
  mode: QuiesceMode,
  volumes: readonly string[],
  onHalt: () => void = () => {},
): Promise<Quiesced> {
  const journal = new Journal<QuiesceNote>(`${env.stateDirectory}/${QUIESCE_JOURNAL}`);
  const list = await planQuiesce(engine, mode, volumes);
  onHalt();
  return quiesce(engine, mode, list, journal);
}

/**
 * Runs `work` between the hooks while the containers stand still; they run again when it has ended, however it did, and
 * before the after-hooks. Says how long that took. Raises HANDLER_FAILED, NOT_RESTARTED, and what `work` raises.
 */
export async function hold<T>(env: JobEnvironment, what: Hold, work: () => Promise<T>): Promise<Held<T>> {
  let downtimeMs = 0;
  const stopped = async (): Promise<T> => {
    const { mode } = what;
    if (!mode) return work();
    let begun = 0;
    const halted = await halt(env, what.engine, mode, what.volumes, () => {
      begun = env.clock.now().getTime();
    });
    try {
      return await work();
    } finally {
      await halted.resume();
      const ms = env.clock.now().getTime() - begun;
      const names = halted.containers.map(({ name }) => name).join(', ');
      if (names !== '') downtimeMs = ms;
      const message =
        names === ''
          ? 'nothing had to stand still: no container that uses the volumes was running'
          : `${mode === 'stop' ? 'stopped' : 'paused'} for ${(ms / 1000).toFixed(1)} s: ${names}`;
      env.emit({ event: 'info', message });
    }
  };
  const result = await withHooks(what.target, what.hooks, env, stopped);
  return { result, downtimeMs };
}
