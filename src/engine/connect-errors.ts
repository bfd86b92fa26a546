import { isVolbakError, messageOf, VolbakError } from '../core/errors.ts';
import type { Endpoint } from './endpoint.ts';

interface Reason {
  why: string;
  hint: string;
}

const CHECK_ADDRESS = 'Check the address (--host, --context, DOCKER_HOST).';
const NEEDS_TLS = 'Set DOCKER_TLS_VERIFY=1 and DOCKER_CERT_PATH, or use a docker context with certificates.';
const CLIENT_CERTIFICATE =
  'Put cert.pem and key.pem beside ca.pem in DOCKER_CERT_PATH, signed by the CA that the engine trusts.';

/** Turns whatever went wrong on the way to an engine into one sentence about that engine, with a hint. */
export function explainConnectError(error: unknown, endpoint: Endpoint, timeoutMs: number): VolbakError {
  if (isVolbakError(error)) return error;
  const { why, hint } = reasonOf(error, endpoint, timeoutMs);
  const retryable = isTimeout(error) || codeOf(error) === 'ECONNREFUSED';
  return new VolbakError('ENGINE_UNREACHABLE', `The engine at ${endpoint.label} cannot be reached: ${why}.`, {
    hint,
    retryable,
    cause: error,
  });
}

function reasonOf(error: unknown, endpoint: Endpoint, timeoutMs: number): Reason {
  if (isTimeout(error)) {
    return {
      why: `no answer within ${timeoutMs / 1000} s`,
      hint: `${CHECK_ADDRESS} A firewall may be in between.`,
    };
  }
  return (
    statusReason(error) ??
    (endpoint.kind === 'unix' ? unixReason(codeOf(error), endpoint.socketPath) : netReason(codeOf(error))) ??
    tlsReason(codeOf(error), messageOf(error)) ?? {
      why: messageOf(error) || codeOf(error),
      hint: CHECK_ADDRESS,
    }
  );
}

function unixReason(code: string, path: string): Reason | undefined {
  switch (code) {
    case 'ENOENT':
      return {
        why: `no engine listens there, ${path} does not exist`,
        hint: 'Start Docker, or name the engine with --host or --context (rootless: unix://$XDG_RUNTIME_DIR/docker.sock).',
      };
    case 'EACCES':
    case 'EPERM':
      return {
        why: 'this user has no permission to use that socket',
        hint: 'Add the user to the group docker (usermod -aG docker NAME, then log in again) or use sudo.',
      };
    case 'ECONNREFUSED':
      return { why: 'the file is there, but no engine listens on it', hint: 'Start Docker.' };
    case 'ENOTSOCK':
      return { why: `${path} is not a socket`, hint: CHECK_ADDRESS };
    case 'ECONNRESET':
      return { why: 'it closed the connection without an answer', hint: 'Look into the log of the engine.' };
    default:
      return undefined;
  }
}

function netReason(code: string): Reason | undefined {
  switch (code) {
    case 'ECONNREFUSED':
      return { why: 'nothing listens on that port (connection refused)', hint: CHECK_ADDRESS };
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return {
        why: 'the name of the host is not known',
        hint: `${CHECK_ADDRESS} ~/.ssh/config is not read.`,
      };
    case 'ETIMEDOUT':
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
      return { why: 'the host does not answer', hint: `${CHECK_ADDRESS} A firewall may be in between.` };
    case 'ECONNRESET':
    case 'HPE_INVALID_CONSTANT':
      return {
        why: 'it closed the connection without an HTTP answer',
        hint: `If the engine expects TLS: ${NEEDS_TLS}`,
      };
    default:
      return undefined;
  }
}

function tlsReason(code: string, message: string): Reason | undefined {
  if (/WRONG_VERSION_NUMBER|PACKET_LENGTH_TOO_LONG/.test(code) || /wrong version number/i.test(message)) {
    return {
      why: 'TLS was expected, but it speaks plain HTTP there',
      hint: 'Unset DOCKER_TLS_VERIFY, or use the port on which the engine offers TLS.',
    };
  }
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') {
    return {
      why: `its certificate is for another name (${message})`,
      hint: 'Use a name or an address that the certificate has.',
    };
  }
  if (code === 'CERT_HAS_EXPIRED')
    return { why: 'its TLS certificate has expired', hint: 'Renew the certificate.' };
  if (/CERT|SELF_SIGNED|ISSUER|LEAF_SIGNATURE/.test(code) && !/ALERT/.test(code)) {
    return {
      why: `its TLS certificate is not trusted (${message})`,
      hint: 'ca.pem in DOCKER_CERT_PATH (or in the context) must be the CA that signed it.',
    };
  }
  if (/ALERT/.test(code))
    return { why: 'it refuses our client certificate, or wants one', hint: CLIENT_CERTIFICATE };
  if (/^ERR_(SSL|OSSL)/.test(code)) {
    return { why: `the TLS files cannot be used (${message})`, hint: CLIENT_CERTIFICATE };
  }
  return undefined;
}

function statusReason(error: unknown): Reason | undefined {
  const status = (error as { statusCode?: unknown } | null)?.statusCode;
  if (typeof status !== 'number') return undefined;
  const message = messageOf(error);
  if (/HTTP request to an HTTPS server/i.test(message)) {
    return { why: 'it wants TLS, and was spoken to in plain HTTP', hint: NEEDS_TLS };
  }
  if (status === 401 || status === 403) {
    return {
      why: `access is denied (HTTP ${status})`,
      hint: 'A proxy in front of the engine must allow /version, /info, /containers, /volumes and /images.',
    };
  }
  return { why: `the answer is not that of a Docker Engine (HTTP ${status})`, hint: CHECK_ADDRESS };
}

function isTimeout(error: unknown): boolean {
  const name = (error as { name?: unknown } | null)?.name;
  return name === 'TimeoutError' || (name === 'AbortError' && causeName(error) === 'TimeoutError');
}

function causeName(error: unknown): unknown {
  return (error as { cause?: { name?: unknown } }).cause?.name;
}

function codeOf(error: unknown): string {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === 'string' ? code : '';
}
