import { messageOf, VolbakError } from '../core/errors.ts';
import type { EngineConnection } from './connect.ts';
import { engineError, statusOf } from './helper.ts';
import { findVolume } from './source.ts';
import { MASK } from './volume-options.ts';

/** A volume to be made. */
export interface VolumeSpec {
  name: string;
  driver: string;
  driverOpts: Record<string, string>;
  labels: Record<string, string>;
}

/**
 * Makes a volume unless there is one of that name. Docker answers a create of an existing volume with success and
 * ignores the options, so what came out is compared. Returns whether it was made.
 */
export async function ensureVolume(engine: EngineConnection, spec: VolumeSpec): Promise<boolean> {
  if (await findVolume(engine, spec.name)) return false;
  const masked = Object.entries(spec.driverOpts).filter(([, value]) => value.includes(MASK));
  if (masked.length > 0) {
    throw new VolbakError(
      'USAGE',
      `volume ${spec.name} needs secrets that a snapshot does not hold: option ${masked.map(([key]) => key).join(', ')}`,
      {
        hint: `Give it in full: --driver-opt ${masked[0]?.[0]}=…`,
      },
    );
  }
  try {
    await engine.docker.createVolume({
      Name: spec.name,
      Driver: spec.driver,
      DriverOpts: spec.driverOpts,
      Labels: spec.labels,
    });
  } catch (error) {
    if (statusOf(error) === undefined) throw engineError(error, `cannot make volume ${spec.name}`);
    const noDriver = /plugin|driver/i.test(messageOf(error));
    throw new VolbakError(
      'HELPER_FAILED',
      `cannot make volume ${spec.name} with driver '${spec.driver}': ${messageOf(error)}`,
      {
        cause: error,
        ...(noDriver
          ? { hint: 'Install the driver there, or restore into an ordinary volume: --driver local' }
          : {}),
      },
    );
  }
  const made = await findVolume(engine, spec.name);
  if (made?.Driver !== spec.driver) {
    throw new VolbakError(
      'HELPER_FAILED',
      `volume ${spec.name} exists with driver '${made?.Driver}', not '${spec.driver}'`,
    );
  }
  return true;
}

/** Removes a volume that a run made. One that somebody uses by now stays: false. */
export async function removeVolume(engine: EngineConnection, name: string): Promise<boolean> {
  try {
    await engine.docker.getVolume(name).remove();
    return true;
  } catch (error) {
    const status = statusOf(error);
    if (status !== 404 && status !== 409) throw engineError(error, `cannot remove volume ${name}`);
    return status === 404;
  }
}
