import type { Patient } from '../jobs/doctor/doctor.ts';
import type { Runtime } from './runtime.ts';

/** What `doctor` and `fleet node` examine: all that a backup from here would use. */
export function patientOf(runtime: Runtime): Patient {
  return {
    clock: runtime.env.clock,
    signal: runtime.signal,
    connect: () => runtime.connect(),
    engine: () => runtime.engine(),
    store: () => runtime.store(),
    repository: () => runtime.repository('write'),
  };
}
