import { type ErrorCode, messageOf, VolbakError } from '../core/errors.ts';
import type { S3Options } from './s3-options.ts';

interface SdkError {
  name?: string;
  code?: string;
  Code?: string;
  $metadata?: { httpStatusCode?: number };
}

interface Cause {
  code: ErrorCode;
  why: string;
  hint?: string;
  retryable?: boolean;
}

const DENIED = new Set([
  'AccessDenied',
  'InvalidAccessKeyId',
  'SignatureDoesNotMatch',
  'UserSuspended',
  'ExpiredToken',
  'InvalidToken',
  'AllAccessDisabled',
  'AccountProblem',
  'Forbidden',
]);

/** Names of what the servers say; their messages differ, and Ceph's are "UnknownError". */
function causeOf(error: SdkError, options: S3Options): Cause {
  const name = error.Code ?? error.name ?? '';
  const status = error.$metadata?.httpStatusCode ?? 0;
  if (name === 'NoSuchBucket') {
    return {
      code: 'STORE_UNREACHABLE',
      why: `there is no bucket ${options.bucket}`,
      hint: 'Make it first, or correct the URL.',
    };
  }
  if (name === 'PreconditionFailed' || status === 412)
    return { code: 'STORE_EXISTS', why: 'it exists already' };
  if (name === 'QuotaExceeded' || name === 'ServiceQuotaExceeded' || status === 507) {
    return {
      code: 'STORE_FULL',
      why: 'the quota is used up',
      hint: 'Raise it or make room; nothing of the earlier snapshots is lost.',
    };
  }
  if (name === 'CredentialsProviderError' || name === 'CredentialsError') {
    return {
      code: 'STORE_DENIED',
      why: 'no credentials were found',
      hint: 'Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE.',
    };
  }
  if (DENIED.has(name) || status === 401 || status === 403) {
    return {
      code: 'STORE_DENIED',
      why: `access was denied (${name})`,
      hint: 'Check the keys and what they may do in this bucket.',
    };
  }
  if (name === 'NoSuchKey' || name === 'NotFound' || status === 404)
    return { code: 'STORE_NOT_FOUND', why: 'it is not there' };
  if (name === 'InvalidRange' || status === 416)
    return { code: 'INTEGRITY', why: 'it is shorter than it should be' };
  if (status >= 500 && name !== 'NotImplemented')
    return {
      code: 'STORE_UNREACHABLE',
      why: `the server is in trouble (${name}, ${status})`,
      retryable: true,
    };
  if (
    [
      'SlowDown',
      'RequestTimeout',
      'RequestTimeTooSkewed',
      'ConditionalRequestConflict',
      'OperationAborted',
    ].includes(name) ||
    status === 429
  ) {
    const skewed = name === 'RequestTimeTooSkewed';
    return {
      code: skewed ? 'STORE_DENIED' : 'STORE_UNREACHABLE',
      why: skewed ? "the server's clock and ours differ too much" : name,
      retryable: !skewed,
    };
  }
  if (status === 0) return networkCause(error, options);
  return { code: 'STORE_UNREACHABLE', why: `the server refused it (${name}, ${status})` };
}

function networkCause(error: SdkError, options: S3Options): Cause {
  const where = options.endpoint ?? 'AWS';
  const code = error.code ?? error.name ?? '';
  if (code === 'ENOTFOUND')
    return { code: 'STORE_UNREACHABLE', why: `${where} has no address`, retryable: true };
  if (code === 'ECONNREFUSED')
    return { code: 'STORE_UNREACHABLE', why: `nothing listens at ${where}`, retryable: true };
  if (code === 'EPIPE') {
    return {
      code: 'STORE_UNREACHABLE',
      why: `${where} cut the connection in the middle`,
      hint: 'Where large objects always fail: is a quota used up?',
      retryable: true,
    };
  }
  if (/CERT|TLS|SSL|SELF_SIGNED|ALTNAME/.test(code)) {
    return {
      code: 'STORE_UNREACHABLE',
      why: `the certificate of ${where} is not trusted (${code})`,
      hint: 'Name its CA: ?ca=/path/ca.pem',
    };
  }
  if (code === 'Region is missing' || /region is missing/i.test(messageOf(error))) {
    return { code: 'STORE_UNREACHABLE', why: 'no region was named', hint: 'Give ?region=… or AWS_REGION.' };
  }
  return {
    code: 'STORE_UNREACHABLE',
    why: `the connection to ${where} failed (${code}: ${messageOf(error)})`,
    retryable: true,
  };
}

/** An error of the SDK in our terms: what failed, on what, and whether to try again. */
export function explainS3Error(
  error: unknown,
  verb: string,
  key: string,
  label: string,
  options: S3Options,
): VolbakError {
  if (error instanceof VolbakError) return error;
  const { code, why, hint, retryable } = causeOf(error as SdkError, options);
  return new VolbakError(code, `cannot ${verb} ${key} in ${label}: ${why}`, {
    cause: error,
    retryable: retryable ?? false,
    ...(hint === undefined ? {} : { hint }),
  });
}
