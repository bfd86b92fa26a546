import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';

/** URL of a worker's module beside `from` (an import.meta.url): `.ts` in the sources, `.js` when built. */
export function workerUrl(from: string, module: string): URL {
  return new URL(module + extname(fileURLToPath(from)), from);
}
