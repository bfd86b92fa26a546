import picomatch from 'picomatch';
import { printable, toText } from '../../core/bytes.ts';
import { isWithin } from '../../tar/names.ts';
import type { Exclude } from '../read/listing.ts';

/**
 * Members that match a glob are left out, with all that is below them. A glob with a slash is matched against the whole
 * path in the volume ("cache/**"), one without against the last component ("*.tmp").
 */
export function excludeGlobs(
  globs: readonly string[],
  directories: readonly string[] = [],
): Exclude | undefined {
  if (globs.length === 0 && directories.length === 0) return undefined;
  const matchers = globs.map((glob) => {
    const pattern = glob.replace(/^\.?\//, '').replace(/\/$/, '');
    return picomatch(pattern, { dot: true, basename: !pattern.includes('/') });
  });
  let excludedDirectory: string | undefined;
  return ({ path, type }) => {
    if (excludedDirectory !== undefined && isWithin(path, excludedDirectory)) return true;
    const name = (toText(path) ?? printable(path)).slice(2);
    const out = matchers.some((matches) => matches(name)) || directories.includes(path);
    if (out && type === 'dir') excludedDirectory = path;
    return out;
  };
}
