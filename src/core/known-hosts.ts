import { createHash, createHmac, timingSafeEqual } from 'node:crypto';

/** One line of an OpenSSH known_hosts file. */
export interface KnownHostEntry {
  marker: 'revoked' | 'cert-authority' | undefined;
  /** The host field as written: comma separated patterns, or one `|1|salt|hash`. */
  hosts: string;
  keyType: string;
  key: Buffer;
}

export type HostKeyVerdict = 'known' | 'unknown' | 'changed' | 'revoked';

const DEFAULT_PORT = 22;

/** Host key algorithms in the order in which ssh2 offers them, by the key type that known_hosts names. */
const ALGORITHMS: Record<string, string[]> = {
  'ssh-ed25519': ['ssh-ed25519'],
  'ecdsa-sha2-nistp256': ['ecdsa-sha2-nistp256'],
  'ecdsa-sha2-nistp384': ['ecdsa-sha2-nistp384'],
  'ecdsa-sha2-nistp521': ['ecdsa-sha2-nistp521'],
  'ssh-rsa': ['rsa-sha2-512', 'rsa-sha2-256', 'ssh-rsa'],
};

/** Parses a known_hosts file; comments, empty lines and lines that make no sense are left out, as ssh does. */
export function parseKnownHosts(text: string): KnownHostEntry[] {
  const entries: KnownHostEntry[] = [];
  for (const line of text.split(/\r?\n/)) {
    const entry = parseLine(line.trim());
    if (entry) entries.push(entry);
  }
  return entries;
}

function parseLine(line: string): KnownHostEntry | undefined {
  if (line === '' || line.startsWith('#')) return undefined;
  const fields = line.split(/\s+/);
  let marker: KnownHostEntry['marker'];
  if (line.startsWith('@')) {
    const word = fields.shift()?.slice(1);
    if (word !== 'revoked' && word !== 'cert-authority') return undefined;
    marker = word;
  }
  const [hosts, keyType, encoded] = fields;
  if (!hosts || !keyType || !encoded) return undefined;
  const key = Buffer.from(encoded, 'base64');
  // A key blob repeats its type; a mismatch means that the line is damaged or of another format.
  return keyTypeOf(key) === keyType ? { marker, hosts, keyType, key } : undefined;
}

/** What known_hosts says about `key` for this host: only `known` may be trusted. */
export function checkHostKey(
  entries: readonly KnownHostEntry[],
  host: string,
  port: number,
  key: Buffer,
): HostKeyVerdict {
  const named = entriesFor(entries, hostKeyName(host, port));
  if (named.some((e) => e.marker === 'revoked' && e.key.equals(key))) return 'revoked';
  const plain = named.filter((e) => e.marker === undefined);
  if (plain.some((e) => e.key.equals(key))) return 'known';
  if (plain.some((e) => e.keyType === keyTypeOf(key))) return 'changed';
  if (port === DEFAULT_PORT) return 'unknown';
  // Like ssh: a key listed without a port vouches for the host on other ports too, but never contradicts one.
  const bare = checkHostKey(entries, host, DEFAULT_PORT, key);
  return bare === 'changed' ? 'unknown' : bare;
}

/**
 * The host key algorithms to offer, those of the keys known for this host first: without that order a server
 * with several keys may show one that known_hosts lacks.
 */
export function hostKeyAlgorithms(entries: readonly KnownHostEntry[], host: string, port: number): string[] {
  const known = [
    ...entriesFor(entries, hostKeyName(host, port)),
    ...entriesFor(entries, hostKeyName(host, DEFAULT_PORT)),
  ].filter((e) => e.marker === undefined);
  const types = new Set([...known.map((e) => e.keyType), ...Object.keys(ALGORITHMS)]);
  return [...types].flatMap((type) => ALGORITHMS[type] ?? []);
}

/** The name under which known_hosts lists a host: `name`, or `[name]:port` where the port is not 22. */
export function hostKeyName(host: string, port: number): string {
  const name = host.toLowerCase();
  return port === DEFAULT_PORT ? name : `[${name}]:${port}`;
}

/** The fingerprint as ssh prints it: `SHA256:…`. */
export function hostKeyFingerprint(key: Buffer): string {
  return `SHA256:${createHash('sha256').update(key).digest('base64').replace(/=+$/, '')}`;
}

/** The type inside a key blob (`ssh-ed25519`, `ssh-rsa`, …), or '' where the blob is damaged. */
export function keyTypeOf(key: Buffer): string {
  if (key.length < 4) return '';
  const length = key.readUInt32BE(0);
  return length <= key.length - 4 ? key.toString('latin1', 4, 4 + length) : '';
}

function entriesFor(entries: readonly KnownHostEntry[], name: string): KnownHostEntry[] {
  return entries.filter((entry) => matchesHost(entry.hosts, name));
}

function matchesHost(hosts: string, name: string): boolean {
  if (hosts.startsWith('|1|')) return matchesHash(hosts, name);
  let found = false;
  for (const pattern of hosts.toLowerCase().split(',')) {
    const negated = pattern.startsWith('!');
    if (!matchesPattern(negated ? pattern.slice(1) : pattern, name)) continue;
    if (negated) return false;
    found = true;
  }
  return found;
}

function matchesHash(field: string, name: string): boolean {
  const [, , salt, hash] = field.split('|');
  if (!salt || !hash) return false;
  const expected = Buffer.from(hash, 'base64');
  const actual = createHmac('sha1', Buffer.from(salt, 'base64')).update(name).digest();
  return expected.length === actual.length && timingSafeEqual(expected, actual);
}

function matchesPattern(pattern: string, name: string): boolean {
  if (!/[*?]/.test(pattern)) return pattern === name;
  const source = pattern.replace(/[.+^${}()|[\]\\*?]/g, (c) =>
    c === '*' ? '.*' : c === '?' ? '.' : `\\${c}`,
  );
  return new RegExp(`^${source}$`).test(name);
}
