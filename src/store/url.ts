import { isAbsolute, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { VolbakError } from '../core/errors.ts';
import type { Store } from './store.ts';

/** What stores take from the environment; read elsewhere (config/env.ts). */
export interface StoreEnvironment {
  homeDirectory: string;
  user: string;
  agentSocket: string | undefined;
  sftpPassword: string | undefined;
}

/** Opens a store of one scheme; drivers are loaded when first used. */
type Opener = (url: URL, env: StoreEnvironment) => Promise<Store>;

const SCHEMES: Record<string, Opener> = {
  'file:': async (url) => openLocal(pathOf(url)),
  's3:': async (url) => {
    const { parseS3Url } = await import('./s3-options.ts');
    const options = parseS3Url(url);
    const { S3Store } = await import('./s3.ts');
    return new S3Store(options);
  },
  'sftp:': async (url, env) => {
    const { parseSftpUrl } = await import('./sftp-options.ts');
    const options = parseSftpUrl(url, env);
    const { SftpStore } = await import('./sftp.ts');
    return new SftpStore(options);
  },
};

const NO_ENVIRONMENT: StoreEnvironment = {
  homeDirectory: '/',
  user: 'root',
  agentSocket: undefined,
  sftpPassword: undefined,
};

/** Raises USAGE for a file URL that names no path of this machine: with a host, or an encoded slash. */
function pathOf(url: URL): string {
  try {
    return fileURLToPath(url);
  } catch (error) {
    throw new VolbakError('USAGE', 'the repository URL names no path of this machine', {
      hint: 'file:///absolute/path, or just the path.',
      cause: error,
    });
  }
}

async function openLocal(directory: string): Promise<Store> {
  const { LocalStore } = await import('./local.ts');
  return new LocalStore(directory);
}

/**
 * The store that a repository URL or path names: the one place where schemes are known.
 * Raises USAGE for what it cannot understand.
 */
export async function openStore(location: string, env: StoreEnvironment = NO_ENVIRONMENT): Promise<Store> {
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
  return open(url, env);
}
