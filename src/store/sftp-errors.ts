import { type ErrorCode, messageOf, VolbakError } from '../core/errors.ts';

/** Status codes of SFTP version 3 (draft-ietf-secsh-filexfer-02, 7). */
export const STATUS = {
  NO_SUCH_FILE: 2,
  PERMISSION_DENIED: 3,
  FAILURE: 4,
  NO_CONNECTION: 6,
  CONNECTION_LOST: 7,
  UNSUPPORTED: 8,
} as const;

/** Status code of an SFTP error; undefined for others. */
export function statusOf(error: unknown): number | undefined {
  const { code } = error as { code?: unknown };
  return typeof code === 'number' ? code : undefined;
}

const CAUSES: Record<number, [ErrorCode, string]> = {
  [STATUS.NO_SUCH_FILE]: ['STORE_NOT_FOUND', 'it is not there'],
  [STATUS.PERMISSION_DENIED]: ['STORE_DENIED', 'permission denied'],
  [STATUS.UNSUPPORTED]: ['STORE_UNREACHABLE', 'the server does not support it'],
};

/** An error of ssh2 in our terms. What is no answer of the server is a broken connection: worth another try. */
export function explainSftpError(error: unknown, verb: string, key: string, label: string): VolbakError {
  if (error instanceof VolbakError) return error;
  const status = statusOf(error);
  const [code, why] = CAUSES[status ?? -1] ?? ['STORE_UNREACHABLE', messageOf(error)];
  const broken = status === undefined || status === STATUS.NO_CONNECTION || status === STATUS.CONNECTION_LOST;
  return new VolbakError(code, `cannot ${verb} ${key} in ${label}: ${why}`, {
    cause: error,
    retryable: broken,
  });
}
