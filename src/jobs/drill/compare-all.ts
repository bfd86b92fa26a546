import { createFramePool } from '../../codec/pool.ts';
import { plural } from '../../core/units.ts';
import type { Attachment } from '../../engine/attachment.ts';
import type { ManifestVolume } from '../../repository/manifest.ts';
import type { RestoreDeps } from '../restore/restore.ts';
import { compareVolume, type Difference } from './compare.ts';
import type { Outcome } from './service.ts';

/** Compares one scratch volume with the snapshot's, and says in a line what came out. */
export async function compareAll(
  { ctx, env, repository }: RestoreDeps,
  attachment: Attachment,
  scratch: string,
  volume: ManifestVolume,
): Promise<{ outcome: Outcome; differences: Difference[] }> {
  const pool = createFramePool({ threads: 1 });
  try {
    const fetch = { store: repository.store, pool, signal: env.signal };
    const path = attachment.paths.get(scratch) as string;
    const { same, entries, differences, count } = await compareVolume(ctx, attachment, path, volume, fetch);
    if (same)
      return {
        outcome: { passed: true, detail: `${plural(entries, 'file')} as in the snapshot` },
        differences,
      };
    const named = differences.slice(0, 5).map(describe).join('; ');
    const more = count > 5 ? `; and ${count - 5} more` : '';
    const detail =
      count === 0
        ? 'the index is not what the manifest says'
        : `${plural(count, 'file')} not as in the snapshot: ${named}${more}`;
    return { outcome: { passed: false, detail }, differences };
  } finally {
    await pool.close();
  }
}

function describe({ path, what, fields }: Difference): string {
  return fields ? `${path} (${fields.join(', ')})` : `${path} is ${what}`;
}
