import { VolbakError } from '../core/errors.ts';
import type { EventSink } from '../core/events.ts';
import { LastWords } from '../core/lines.ts';
import type { EngineConnection } from '../engine/connect.ts';
import { type ExecEnd, execIn } from '../engine/exec.ts';
import type { ResolvedSource } from '../engine/source.ts';
import type { Hook } from '../recipes/schema.ts';

/** The container whose hooks these are. */
export interface HookTarget {
  engine: EngineConnection;
  id: string;
  name: string;
}

/** What is run in a container before something is done with its volumes, and after it. */
export interface Hooks {
  before: readonly Hook[];
  after: readonly Hook[];
}

export const NO_HOOKS: Hooks = { before: [], after: [] };

/** What an exec's end means for a person; undefined where it ended well. */
export function execFailure(end: ExecEnd, timeoutMs: number, said: LastWords): string | undefined {
  if (end.kind === 'refused') return `could not be started: ${end.why}`;
  if (end.kind === 'timeout') return `did not end within ${timeoutMs / 1000} s`;
  if (end.code === 0) return undefined;
  return `ended with exit code ${end.code}${said.complaint === '' ? '' : `: ${said.complaint}`}`;
}

/** Where hooks of a source run: in its container. Undefined where there are none. Raises USAGE for a volume by itself. */
export function hookTarget(
  engine: EngineConnection,
  { name, container }: ResolvedSource,
  { before, after }: Hooks,
): HookTarget | undefined {
  if (before.length + after.length === 0) return undefined;
  if (container) return { engine, id: container.id, name: container.name };
  throw new VolbakError(
    'USAGE',
    `the recipe has hooks, and ${name} is a volume, not a container to run them in`,
    {
      hint: 'Name the container that uses it.',
    },
  );
}

async function runHook(
  { engine, id, name }: HookTarget,
  hook: Hook,
  phase: 'before' | 'after',
  emit: EventSink,
  signal: AbortSignal,
): Promise<void> {
  const said = new LastWords();
  const end = await execIn(
    engine,
    id,
    {
      command: hook.command,
      user: hook.user,
      timeoutMs: hook.timeout,
      onLine(stream, text) {
        said.add(stream, text);
        emit({ event: 'log', stream: 'stderr', text });
      },
    },
    signal,
  );
  const failure = execFailure(end, hook.timeout, said);
  if (failure === undefined) return;
  const message = `the ${phase}-hook in ${name} ${failure}`;
  if (hook['on-error'] === 'fail') {
    throw new VolbakError('HANDLER_FAILED', message, {
      hint: `Try it by hand: docker exec ${name} …; \`on-error: continue\` goes on in spite of it.`,
    });
  }
  emit({ event: 'warning', message });
}

/**
 * Runs the work between hooks. A failing before-hook skips the work (unless it says `on-error: continue`); after-hooks run
 * in any case, all of them, also after an interruption. Raises the first failure.
 */
export async function withHooks<T>(
  target: HookTarget | undefined,
  hooks: Hooks,
  deps: { emit: EventSink; signal: AbortSignal },
  work: () => Promise<T>,
): Promise<T> {
  if (!target) return work();
  let failure: { error: unknown } | undefined;
  let result: T | undefined;
  try {
    for (const hook of hooks.before) await runHook(target, hook, 'before', deps.emit, deps.signal);
    result = await work();
  } catch (error) {
    failure = { error };
  }
  // Its own signal: what a before-hook began must be ended, also where the run was interrupted.
  const { signal } = new AbortController();
  for (const hook of hooks.after) {
    try {
      await runHook(target, hook, 'after', deps.emit, signal);
    } catch (error) {
      if (failure) deps.emit({ event: 'warning', message: (error as Error).message });
      failure ??= { error };
    }
  }
  if (failure) throw failure.error;
  return result as T;
}
