const DURATIONS: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** What a duration looks like: "500ms", "90s", "5m", "24h". */
export const DURATION_PATTERN = /^(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)$/i;

/** Milliseconds of a duration; undefined where it is none. */
export function parseDuration(text: string): number | undefined {
  const [, number, unit = ''] = DURATION_PATTERN.exec(text) ?? [];
  return number === undefined ? undefined : Number(number) * (DURATIONS[unit.toLowerCase()] as number);
}

const SIZES: Record<string, number> = { '': 1, k: 2 ** 10, m: 2 ** 20, g: 2 ** 30 };

/** What a size looks like, as `docker run --memory` takes it: "64m", "1g", "1.5GiB". */
export const SIZE_PATTERN = /^(\d+(?:\.\d+)?)\s*([kmg]?)(?:i?b)?$/i;

/** Bytes of a size (k, m and g are powers of 1024); undefined where it is none. */
export function parseSize(text: string): number | undefined {
  const [, number, unit = ''] = SIZE_PATTERN.exec(text) ?? [];
  return number === undefined
    ? undefined
    : Math.round(Number(number) * (SIZES[unit.toLowerCase()] as number));
}
