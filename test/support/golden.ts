import { readFileSync } from 'node:fs';
import path from 'node:path';

const fixtures = path.resolve(import.meta.dirname, '../../fixtures');

/** The repository of format 1 that every later volbak must be able to restore. */
export const goldenRepository = path.join(fixtures, 'golden-1');

export interface GoldenSnapshot {
  id: string;
  source: string;
  status: string;
  volumes: { name: string; entries: number; tarBytes: number; digest: string }[];
}

/** What it holds, as noted when it was made. */
export function goldenSnapshots(): GoldenSnapshot[] {
  return JSON.parse(readFileSync(`${goldenRepository}.json`, 'utf8')) as GoldenSnapshot[];
}
