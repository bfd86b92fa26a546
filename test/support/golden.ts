import { readFileSync } from 'node:fs';
import path from 'node:path';

const fixtures = path.resolve(import.meta.dirname, '../../fixtures');

/** The repository of format 1 that every later volbak must be able to restore. */
export const goldenRepository = path.join(fixtures, 'golden-1');

/** The same format, encrypted: to the identity beside it, and to a passphrase. */
export const goldenEncrypted = path.join(fixtures, 'golden-1-encrypted');
export const goldenIdentityFile = `${goldenEncrypted}.key`;
export const goldenPassphrase = 'golden passphrase of a fixture';

export interface GoldenSnapshot {
  id: string;
  source: string;
  status: string;
  volumes: { name: string; entries: number; tarBytes: number; digest: string }[];
}

/** What it holds, as noted when it was made. */
export function goldenSnapshots(repository = goldenRepository): GoldenSnapshot[] {
  return JSON.parse(readFileSync(`${repository}.json`, 'utf8')) as GoldenSnapshot[];
}
