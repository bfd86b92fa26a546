import { ERROR_CODES } from '../core/errors.ts';
import { sleep } from '../core/sleep.ts';
import { type Program, startChild } from './child.ts';
import type { Log } from './log.ts';
import { failureText } from './outcome.ts';

const FIRST_DELAY_MS = 2000;
const MAX_DELAY_MS = 60_000;

export interface RecoveryContext {
  program: Program;
  /** Global options for every command. */
  manners: readonly string[];
  log: Log;
  signal: AbortSignal;
  engine(host: string, up: boolean): void;
}

/**
 * Starts again what killed runs left stopped on an engine, as every command does first; waits for an engine that is not
 * there. Ends with the signal, without an error.
 */
export async function recoverEngine(context: RecoveryContext, host: string): Promise<void> {
  const { log, signal } = context;
  const argv = [...context.manners, ...(host === '' ? [] : [`--host=${host}`]), 'recover'];
  const engine = host === '' ? 'the engine' : `engine ${host}`;
  for (let delay = FIRST_DELAY_MS; !signal.aborted; delay = Math.min(2 * delay, MAX_DELAY_MS)) {
    const child = startChild(context.program, { argv, environment: {} }, (told) => {
      if (told.event === 'warning' && told.message !== undefined) log.warn(told.message);
    });
    signal.addEventListener('abort', child.stop, { once: true });
    const ended = await child.ended;
    signal.removeEventListener('abort', child.stop);
    if (signal.aborted) return;
    context.engine(host, ended.exit === 0);
    if (ended.exit === 0) return log.info(`${engine} answers`);
    log.warn(`${engine}: ${failureText(ended)}`);
    if (ended.exit !== ERROR_CODES.ENGINE_UNREACHABLE) return;
    await sleep(delay, signal).catch(() => {});
  }
}
