import path from 'node:path';
import { run } from '../measure.ts';
import { type Bench, remove, type Tool } from './tool.ts';

/** restic on the volume's own directory. It always encrypts; compression is its default ("auto", zstd). */
export function restic({ work, timed }: Bench): Tool {
  const repository = path.join(work, 'restic');
  const cache = path.join(work, 'restic-cache');
  const env = { RESTIC_REPOSITORY: repository, RESTIC_PASSWORD: 'bench', RESTIC_CACHE_DIR: cache };
  const call = (...args: string[]) => timed('restic', ['--quiet', ...args], { env });
  return {
    name: 'restic',
    title: "`restic backup <the volume's directory>`, `restore`, `restore --include`, `dump --archive tar`",
    repository,
    fresh: async () => {
      remove(repository, cache);
      await run('restic', ['--quiet', 'init', '--repository-version', '2'], { env });
    },
    backup: ({ directory }) => call('backup', directory),
    restore: (_, target) => call('restore', 'latest', '--target', target.directory),
    single: ({ directory }, target, file) =>
      call('restore', 'latest', '--target', target.directory, '--include', path.join(directory, file)),
    export: ({ directory }, file) =>
      timed('bash', ['-c', 'restic --quiet dump --archive tar latest "$1" >"$2"', 'bash', directory, file], {
        env,
      }),
  };
}
