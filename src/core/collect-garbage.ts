type Collector = (options?: { type: 'minor' }) => void;

/**
 * Frees the buffers that went out of use since the last call. V8 sees little of what lies outside its heap and lets
 * tens of MiB gather in each thread before it looks; called once a batch of a few MiB this costs about 3 % and
 * saves more than 200 MB. Does nothing where Node runs without `--expose-gc` (bin/volbak gives it).
 */
export function collectYoungGarbage(): void {
  const gc = (globalThis as { gc?: Collector }).gc;
  gc?.({ type: 'minor' });
}
