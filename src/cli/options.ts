import { InvalidArgumentError } from 'commander';

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
