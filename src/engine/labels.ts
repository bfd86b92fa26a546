/** Marks what volbak made, so that leftovers are found; see sweep.ts. */
export const HELPER_LABEL = 'io.volbak.helper-run';
/** Which process made it: `<host>:<pid>:<start of the process>`. */
export const OWNER_LABEL = 'io.volbak.owner';
export const SCRATCH_LABEL = 'io.volbak.scratch';
/** On volumes that a restore or import made: which run it was. */
export const MADE_LABEL = 'io.volbak.made';
