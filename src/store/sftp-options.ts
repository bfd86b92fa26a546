import { join } from 'node:path';
import { VolbakError } from '../core/errors.ts';
import type { StoreEnvironment } from './url.ts';
import { decodePart, flag } from './url-parts.ts';

/** What an `sftp://` URL says. */
export interface SftpOptions {
  host: string;
  port: number;
  user: string;
  /** Absolute, or relative to the home directory where the URL says /~/… */
  directory: string;
  keyFile: string | undefined;
  agentSocket: string | undefined;
  defaultKeyFiles: string[];
  password: string | undefined;
  knownHostsFiles: string[];
  /** Take an unknown host's key at first sight, and remember it. */
  acceptNew: boolean;
}

const KNOWN = ['key', 'known-hosts', 'accept-new'];

/** Reads `sftp://user@host:22/path?key=…`. Raises USAGE; docs/stores.md describes the options. */
export function parseSftpUrl(url: URL, env: StoreEnvironment): SftpOptions {
  const { searchParams: query } = url;
  for (const key of query.keys()) {
    if (KNOWN.includes(key)) continue;
    throw new VolbakError('USAGE', `unknown option '${key}' in the repository URL`, {
      hint: `Known are ${KNOWN.join(', ')}.`,
    });
  }
  if (url.password !== '') {
    throw new VolbakError('USAGE', 'no password in the repository URL, please: it is printed and logged', {
      hint: 'Use a key (?key=), an agent, or VOLBAK_SFTP_PASSWORD.',
    });
  }
  const path = decodePart(url.pathname).replace(/\/+$/, '');
  if (url.hostname === '' || path === '' || path === '/~') {
    throw new VolbakError('USAGE', 'an sftp repository needs a host and a directory', {
      hint: 'sftp://user@host/srv/backup',
    });
  }
  const ssh = join(env.homeDirectory, '.ssh');
  return {
    host: url.hostname.replace(/^\[|\]$/g, ''),
    port: url.port === '' ? 22 : Number(url.port),
    user: url.username === '' ? env.user : decodePart(url.username),
    directory: path.startsWith('/~/') ? path.slice(3) : path,
    keyFile: query.get('key') ?? undefined,
    agentSocket: env.agentSocket,
    defaultKeyFiles: ['id_ed25519', 'id_ecdsa', 'id_rsa'].map((name) => join(ssh, name)),
    password: env.sftpPassword,
    knownHostsFiles: query.has('known-hosts')
      ? [query.get('known-hosts') ?? '']
      : [join(ssh, 'known_hosts'), '/etc/ssh/ssh_known_hosts'],
    acceptNew: flag(query, 'accept-new', false),
  };
}
