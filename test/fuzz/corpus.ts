import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';

const ROOT = path.resolve(import.meta.dirname, '../../fixtures/fuzz');
const TARS = path.resolve(import.meta.dirname, '../../fixtures/tars');

/** Readers of what others read, too. */
const SAME: Record<string, string> = { rewritten: 'tar', intake: 'listing' };

export interface Saved {
  name: string;
  bytes: Buffer;
}

/** Saved inputs of a reader, smallest first; those of archives also read the fixtures of other programs. */
export function corpus(reader: string): Saved[] {
  const load = (dir: string, ending: string) =>
    readdirSync(dir)
      .filter((name) => name.endsWith(ending))
      .map((name) => ({ name, bytes: readFileSync(path.join(dir, name)) }));
  const kind = SAME[reader] ?? reader;
  const tars = kind === 'tar' ? load(TARS, '.tar').filter(({ bytes }) => bytes.length < 200_000) : [];
  return [...load(path.join(ROOT, kind), ''), ...tars].sort((a, b) => a.bytes.length - b.bytes.length);
}
