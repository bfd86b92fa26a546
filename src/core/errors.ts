/**
 * Every error that volbak raises on purpose, with its exit code.
 * docs/errors.md lists the same table; test/core/errors.test.ts keeps the two in step.
 */
export const ERROR_CODES = {
  UNEXPECTED: 1,
  USAGE: 2,
  REPOSITORY_MISSING: 10,
  REPOSITORY_INVALID: 10,
  SNAPSHOT_NOT_FOUND: 10,
  REPOSITORY_BUSY: 11,
  JOB_BUSY: 11,
  WRONG_KEY: 12,
  ENGINE_UNREACHABLE: 20,
  NOT_FOUND_IN_ENGINE: 21,
  HELPER_FAILED: 22,
  NOT_RESTARTED: 23,
  TARGET_NOT_EMPTY: 24,
  STORE_DENIED: 30,
  STORE_UNREACHABLE: 31,
  STORE_NOT_FOUND: 31,
  STORE_EXISTS: 31,
  STORE_FULL: 32,
  INTEGRITY: 40,
  DRILL_FAILED: 41,
  HANDLER_FAILED: 50,
  CONFIG: 78,
  INTERRUPTED: 130,
  TERMINATED: 143,
} as const;

export type ErrorCode = keyof typeof ERROR_CODES;

/** Exit code of a command that finished, but whose result is incomplete. */
export const EXIT_PARTIAL = 3;

export interface ErrorDetails {
  /** What the person at the terminal can do about it. */
  hint?: string;
  /** True where the same call may succeed a moment later. */
  retryable?: boolean;
  cause?: unknown;
}

/** An error with a stable code: the message says what failed and on what, the hint what to do. */
export class VolbakError extends Error {
  readonly code: ErrorCode;
  readonly hint: string | undefined;
  readonly retryable: boolean;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = 'VolbakError';
    this.code = code;
    this.hint = details.hint;
    this.retryable = details.retryable ?? false;
  }

  get exitCode(): number {
    return ERROR_CODES[this.code];
  }
}

/** True if `error` is a VolbakError with this code. */
export function isVolbakError(error: unknown, code?: ErrorCode): error is VolbakError {
  return error instanceof VolbakError && (code === undefined || error.code === code);
}

/** The message of anything that was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Wraps whatever was thrown: VolbakErrors pass, the rest becomes UNEXPECTED with its cause kept. */
export function toVolbakError(error: unknown): VolbakError {
  if (error instanceof VolbakError) return error;
  return new VolbakError('UNEXPECTED', messageOf(error), { cause: error });
}
