import { VolbakError } from '../core/errors.ts';
import type { BackupRecipe } from '../recipes/schema.ts';

/** What a recipe says about backups and migrations. Raises CONFIG, and USAGE where it says nothing. */
export async function loadBackupRecipe(nameOrFile: string): Promise<BackupRecipe> {
  const { loadRecipe } = await import('../recipes/load.ts');
  const { name, backup, handler } = await loadRecipe(nameOrFile);
  if (backup) return backup;
  throw new VolbakError('USAGE', `recipe ${name} says nothing about backups of volumes`, {
    hint: handler
      ? `It is for handlers: volbak handle <container> --recipe ${name}`
      : `It is for drills: volbak drill <snapshot> --recipe ${name}`,
  });
}
