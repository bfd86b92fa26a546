import path from 'node:path';
import { type Bench, remove, type Tool } from './tool.ts';

/** The volbak of this checkout, on the engine; a repository in a directory of this machine. */
export function volbak({ host, work, timed }: Bench, launcher: string): Tool {
  const repository = path.join(work, 'volbak');
  const env = {
    DOCKER_HOST: host,
    VOLBAK_REPO: repository,
    XDG_STATE_HOME: path.join(work, 'state'),
    XDG_CACHE_HOME: path.join(work, 'cache'),
  };
  const call = (...args: string[]) => timed(launcher, ['--no-progress', '--json', ...args], { env });
  return {
    name: 'volbak',
    title: '`volbak backup`, `restore`, `restore --path`, `export`, `export --container`',
    repository,
    fresh: async () => remove(repository),
    backup: ({ container }) => call('backup', container),
    restore: ({ container }, { volume }) => call('restore', container, '--to-volume', volume),
    single: ({ container }, { volume }, file) =>
      call('restore', container, '--to-volume', volume, '--path', file),
    export: ({ container, volume }, file) => call('export', container, '--volume', volume, '-o', file),
    archive: ({ container }, file) => call('export', '--container', container, '-o', file),
  };
}
