import { VolbakError } from '../../core/errors.ts';
import { STAGE_NAME } from './stage-script.ts';
import type { OnConflict } from './write-volumes.ts';

/** Raises USAGE where old content cannot be kept under a name, or nothing is replaced. */
export function assertKeepName(name: string | undefined, onConflict: OnConflict): void {
  if (name === undefined) return;
  if (onConflict !== 'replace') {
    throw new VolbakError('USAGE', '--keep-old keeps what --on-conflict replace takes away');
  }
  const taken = name === '.' || name === '..' || name === 'lost+found' || STAGE_NAME.test(name);
  if (!taken && /^[^/\0-\x1f\x7f]{1,200}$/.test(name)) return;
  throw new VolbakError('USAGE', '--keep-old takes the name of a directory in the root of the volume', {
    hint: 'For example --keep-old before-restore; without a name volbak makes one.',
  });
}

/** The name for kept content where the user gave none: when it was replaced. */
export function defaultKeepName(now: Date): string {
  return `volbak-old-${now.toISOString().replace(/[-:]/g, '').replace(/\.\d+/, '')}`;
}
