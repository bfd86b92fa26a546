import { readFile } from 'node:fs/promises';
import {
  checkHostKey,
  hostKeyFingerprint,
  hostKeyName,
  type KnownHostEntry,
  keyTypeOf,
  parseKnownHosts,
} from './known-hosts.ts';

/** A host that is about to show its key, and the known_hosts files that tell which one it has. */
export interface SshHost {
  host: string;
  port: number;
  user: string;
  /** The first one is where a new key belongs. */
  knownHostsFiles: readonly string[];
}

/** Why a host's key is not trusted. */
export interface HostKeyRefusal {
  verdict: 'unknown' | 'changed' | 'revoked';
  /** Follows the host's name in a sentence. */
  what: string;
  hint: string | undefined;
}

/** All entries of known_hosts files; one that cannot be read has none. */
export async function readKnownHosts(files: readonly string[]): Promise<KnownHostEntry[]> {
  const texts = await Promise.all(files.map((file) => readFile(file, 'utf8').catch(() => '')));
  return texts.flatMap(parseKnownHosts);
}

/** Undefined where known_hosts has the key for this host: only then it may be trusted. */
export function refuseHostKey(
  entries: readonly KnownHostEntry[],
  { host, port, user, knownHostsFiles: [file] }: SshHost,
  key: Buffer,
): HostKeyRefusal | undefined {
  const verdict = checkHostKey(entries, host, port, key);
  const shown = `${keyTypeOf(key)} ${hostKeyFingerprint(key)}`;
  const name = hostKeyName(host, port);
  const flag = port === 22 ? '' : ` -p ${port}`;
  switch (verdict) {
    case 'known':
      return undefined;
    case 'unknown':
      return {
        verdict,
        what: `has a host key (${shown}) that known_hosts does not list`,
        hint: `If that is its key, connect once with: ssh${flag} ${user}@${host}. Or add it with: ssh-keyscan${flag} ${host} >> ${file}`,
      };
    case 'revoked':
      return {
        verdict,
        what: `shows a host key (${shown}) that known_hosts marks as revoked`,
        hint: undefined,
      };
    case 'changed':
      return {
        verdict,
        what: `shows another host key (${shown}) than known_hosts lists for ${name}: somebody may be in between`,
        hint: `If the host was really reinstalled, remove the old key with: ssh-keygen -R '${name}' -f ${file}`,
      };
  }
}
