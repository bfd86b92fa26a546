import { isAbsolute, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { VolbakError } from '../core/errors.ts';
import type { Store } from './store.ts';

/** Opens a store of one scheme; drivers are loaded when first used. */
type Opener = (url: URL) => Promise<Store>;

const SCHEMES: Record<string, Opener> = {
  'file:': async (url) => openLocal(fileURLToPath(url)),
};

async function openLocal(directory: string): Promise<Store> {
  const { LocalStore } = await import('./local.ts');
  return new LocalStore(directory);
}

/**
 * The store that a repository URL or path names: the one place where schemes are known.
 * Raises USAGE for what it cannot understand.
 */
export async function openStore(location: string): Promise<Store> {
  if (location === '')
    throw new VolbakError('USAGE', 'the repository URL is empty', { hint: 'Give --repo a path or URL.' });
  if (isAbsolute(location) || !/^[a-z][a-z0-9+.-]*:/i.test(location)) return openLocal(resolve(location));
  let url: URL;
  try {
    url = new URL(location);
  } catch (error) {
    throw new VolbakError('USAGE', 'the repository URL cannot be read', { cause: error });
  }
  const open = SCHEMES[url.protocol];
  if (!open) {
    throw new VolbakError('USAGE', `no store for '${url.protocol}//' repositories`, {
      hint: `Known are a path and ${Object.keys(SCHEMES)
        .map((s) => `${s}//`)
        .join(', ')}.`,
    });
  }
  return open(url);
}
