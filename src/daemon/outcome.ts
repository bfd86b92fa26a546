import { ERROR_CODES, EXIT_PARTIAL } from '../core/errors.ts';
import type { Outcome } from '../schedule/types.ts';
import type { Ended } from './child.ts';

/** Failures that stay as they are until somebody does something. */
const LASTING: ReadonlySet<number> = new Set([
  ERROR_CODES.USAGE,
  ERROR_CODES.WRONG_KEY,
  ERROR_CODES.TARGET_NOT_EMPTY,
  ERROR_CODES.INTEGRITY,
  ERROR_CODES.DRILL_FAILED,
  ERROR_CODES.CONFIG,
]);

/** What an end means for the schedule; `stopping` where the daemon itself stopped it. */
export function outcomeOf({ exit, signal, error }: Ended, stopping: boolean): Outcome {
  const ok = exit === 0 || exit === EXIT_PARTIAL;
  const ended = exit === ERROR_CODES.TERMINATED || exit === ERROR_CODES.INTERRUPTED || signal !== undefined;
  return {
    ok,
    retryable: !ok && !(exit !== undefined && LASTING.has(exit)),
    engineGone: exit === ERROR_CODES.ENGINE_UNREACHABLE,
    busy: error?.code === 'JOB_BUSY',
    stopped: stopping && ended,
  };
}

/** Whether it may have left a container stopped: it was killed, or says so itself. */
export function leftSomething({ exit, signal }: Ended): boolean {
  return signal !== undefined || exit === ERROR_CODES.NOT_RESTARTED;
}

/** What failed, for people. */
export function failureText({ exit, signal, error }: Ended): string {
  if (error?.message !== undefined) return error.message;
  return signal === undefined ? `it ended with exit code ${exit}` : `it was ended by ${signal}`;
}
