import { processIdentity } from '../core/process-identity.ts';
import type { EngineConnection } from './connect.ts';

/** Marks what volbak made, so that leftovers are found; see sweep.ts. */
export const HELPER_LABEL = 'io.volbak.helper-run';
/** Which process made it: `<host>:<pid>:<start of the process>`. */
export const OWNER_LABEL = 'io.volbak.owner';
/** Where that process runs in a container of the same engine: its id. The engine can tell whether it still does. */
export const OWNER_CONTAINER_LABEL = 'io.volbak.owner-container';
export const SCRATCH_LABEL = 'io.volbak.scratch';
/** On volumes that a restore or import made: which run it was. */
export const MADE_LABEL = 'io.volbak.made';
/** On an image that is fit for helpers: the version of volbak that made it. */
export const HELPER_IMAGE_LABEL = 'io.volbak.helper';

/** Labels by which a later run finds what this process leaves when it is killed. */
export function ownerLabels({ info }: Pick<EngineConnection, 'info'>): Record<string, string> {
  const own = info.ownContainer;
  return {
    [OWNER_LABEL]: processIdentity(),
    ...(own === undefined ? {} : { [OWNER_CONTAINER_LABEL]: own.id }),
  };
}
