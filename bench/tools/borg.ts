import path from 'node:path';
import { run } from '../measure.ts';
import { type Bench, remove, type Tool } from './tool.ts';

/** borg in the volume's own directory, without encryption. */
export function borg({ work, timed }: Bench): Tool {
  const repository = path.join(work, 'borg');
  const base = path.join(work, 'borg-base');
  const env = {
    BORG_REPO: repository,
    BORG_BASE_DIR: base,
    BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK: 'yes',
    BORG_RELOCATED_REPO_ACCESS_IS_OK: 'yes',
  };
  let made = 0;
  const latest = () => `::${made}`;
  return {
    name: 'borg',
    title:
      '`borg create --compression zstd,3` in the directory of the volume, `extract`, `extract <path>`, `export-tar`',
    repository,
    fresh: async () => {
      remove(repository, base);
      await run('borg', ['init', '--encryption', 'none'], { env });
    },
    backup: ({ directory }) => {
      made++;
      return timed('borg', ['create', '--compression', 'zstd,3', latest(), '.'], { env, cwd: directory });
    },
    restore: (_, target) => timed('borg', ['extract', latest()], { env, cwd: target.directory }),
    single: (_, target, file) => timed('borg', ['extract', latest(), file], { env, cwd: target.directory }),
    export: (_, file) => timed('borg', ['export-tar', latest(), file], { env }),
  };
}
