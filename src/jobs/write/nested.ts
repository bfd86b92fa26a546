import { VolbakError } from '../../core/errors.ts';
import type { EngineConnection } from '../../engine/connect.ts';
import { containersUsing } from '../../engine/source.ts';

/**
 * Raises TARGET_NOT_EMPTY where a running container has mounted something inside the volume: the directory under it
 * would be moved away with the old content, and the mount with it.
 */
export async function assertNothingNested(engine: EngineConnection, volume: string): Promise<void> {
  for (const { Names, Id, State, Mounts } of await containersUsing(engine, volume)) {
    if (State !== 'running' && State !== 'paused') continue;
    const own = Mounts.filter((m) => m.Type === 'volume' && m.Name === volume).map((m) => m.Destination);
    const nested = Mounts.find((m) => own.some((place) => m.Destination.startsWith(`${place}/`)));
    if (!nested) continue;
    const name = Names[0]?.replace(/^\//, '') ?? Id;
    throw new VolbakError(
      'TARGET_NOT_EMPTY',
      `container ${name} runs with something mounted inside volume ${volume}, at ${nested.Destination}: its content cannot be replaced meanwhile`,
      { hint: 'Stop the container first; restore does it with --stop.' },
    );
  }
}
