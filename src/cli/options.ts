import { InvalidArgumentError } from 'commander';
import { parseSize } from '../core/quantities.ts';

/** For commander: gathers a repeated option. */
export function collect(value: string, previous: string[] = []): string[] {
  return [...previous, value];
}

/** For commander: a whole number from 1. */
export function positiveInteger(value: string): number {
  const number = Number(value);
  if (!Number.isSafeInteger(number) || number < 1)
    throw new InvalidArgumentError('It must be a whole number from 1.');
  return number;
}

/** For commander: a whole number from 0. */
export function wholeNumber(value: string): number {
  const number = Number(value);
  if (value.trim() === '' || !Number.isSafeInteger(number) || number < 0) {
    throw new InvalidArgumentError('It must be a whole number from 0.');
  }
  return number;
}

const RATE_UNITS: Record<string, number> = {
  '': 1,
  k: 1e3,
  m: 1e6,
  g: 1e9,
  ki: 2 ** 10,
  mi: 2 ** 20,
  gi: 2 ** 30,
};

/** For commander: bytes per second, "500k", "10M", "1.5MiB". */
export function byteRate(value: string): number {
  const [, number, unit = ''] = /^(\d+(?:\.\d+)?)\s*([kmg]i?)?(?:b)?(?:\/s)?$/i.exec(value) ?? [];
  const bytes = Number(number) * (RATE_UNITS[unit.toLowerCase()] ?? Number.NaN);
  if (!(bytes >= 1)) throw new InvalidArgumentError('It must be bytes per second, like 500k or 10M.');
  return bytes;
}

const DURATION_UNITS: Record<string, number> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 604_800_000,
};

/** For commander: a duration in milliseconds, "90s", "5m", "24h", "7d". */
export function duration(value: string): number {
  const [, number, unit = ''] = /^(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w)$/i.exec(value) ?? [];
  if (number === undefined) throw new InvalidArgumentError('It must be a duration, like 90s, 5m, 24h or 7d.');
  return Number(number) * (DURATION_UNITS[unit.toLowerCase()] as number);
}

/** For commander: a size in bytes, "256m", "1g" (powers of 1024). */
export function byteSize(value: string): number {
  const bytes = parseSize(value);
  if (!bytes) throw new InvalidArgumentError('It must be a size, like 256m or 1g.');
  return bytes;
}
