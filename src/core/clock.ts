/** Where time comes from, so that tests can bring their own. */
export interface Clock {
  /** Wall clock. */
  now(): Date;
}

export const systemClock: Clock = { now: () => new Date() };
