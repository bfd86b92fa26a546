import { createRequire, Module } from 'node:module';
import type Dockerode from 'dockerode';

/** Loads dockerode without gRPC (for BuildKit's sessions) and its own ssh: never used here, and slower to load than all else. */
export async function loadDockerode(): Promise<typeof Dockerode> {
  const dockerode = within(import.meta.url, 'dockerode');
  const modem = dockerode && within(dockerode, 'docker-modem');
  for (const path of [dockerode && within(dockerode, './session'), modem && within(modem, './ssh')])
    if (path !== undefined) leaveOut(path);
  return (await import('dockerode')).default;
}

/** Where `from` finds a module; undefined in a release of the package that has none such. */
function within(from: string, module: string): string | undefined {
  try {
    return createRequire(from).resolve(module);
  } catch {
    return undefined;
  }
}

/** A module that is in the cache is not loaded; adding one is what Node's documentation of `require.cache` allows. */
function leaveOut(path: string): void {
  const { cache } = createRequire(import.meta.url);
  cache[path] ??= Object.assign(new Module(path), {
    filename: path,
    loaded: true,
    exports: () => {
      throw new Error(`${path} is left out: see loadDockerode`);
    },
  });
}
