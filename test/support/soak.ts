/** How often a test repeats what chance decides: few in CI, many in `npm run soak`. */
export function rounds(ci: number, soak: number): number {
  return process.env.VOLBAK_SOAK ? soak : ci;
}

/** The seed of this run's chances: VOLBAK_SEED repeats a run, as far as the machine's own timing lets it. */
export function seed(): number {
  return Number(process.env.VOLBAK_SEED ?? Math.floor(Math.random() * 2 ** 31));
}

/** Numbers from 0 to 1 that a seed decides (mulberry32). */
export function random(from: number): () => number {
  let state = from | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
