/** Size of one slab; frames lie whole in one. */
export const SLAB_SIZE = 4 * 1024 * 1024;
const SLABS = 6;

/** Memory that the reading thread fills and the frame threads read, handed round in a ring. */
export interface SlabMemory {
  slabs: SharedArrayBuffer[];
  /** One word a slab: 0 free, 1 in use. */
  states: SharedArrayBuffer;
}

export function createSlabs(): SlabMemory {
  return {
    slabs: Array.from({ length: SLABS }, () => new SharedArrayBuffer(SLAB_SIZE)),
    states: new SharedArrayBuffer(SLABS * 4),
  };
}

/** Gives a slab back to the reading thread. */
export function freeSlab(memory: SlabMemory, slab: number): void {
  const states = new Int32Array(memory.states);
  Atomics.store(states, slab, 0);
  Atomics.notify(states, slab);
}

/** Waits, in the reading thread, for the slab to be free and takes it. */
export function takeSlab(memory: SlabMemory, slab: number): Buffer {
  const states = new Int32Array(memory.states);
  while (Atomics.load(states, slab) !== 0) Atomics.wait(states, slab, 1);
  Atomics.store(states, slab, 1);
  return Buffer.from(memory.slabs[slab] as SharedArrayBuffer);
}
