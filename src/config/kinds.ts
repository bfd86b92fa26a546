import { z } from 'zod';
import { parseSize } from '../core/quantities.ts';

export const text = z.string().min(1);

/** The durations of the command line, which has weeks, too. */
export const duration = z
  .string()
  .regex(/^\d+(?:\.\d+)?\s*(?:ms|s|m|h|d|w)$/i, 'it must be a duration, like 90s, 5m, 24h or 7d')
  .describe('A duration: 90s, 5m, 24h, 7d.');

export const zone = z
  .string()
  .refine(isTimeZone, 'it must be a time zone, like Europe/Berlin or UTC')
  .describe("A time zone, like Europe/Berlin; the system's unless told.");

function isTimeZone(name: string): boolean {
  try {
    new Intl.DateTimeFormat('en', { timeZone: name });
    return true;
  } catch {
    return false;
  }
}

export const command = z
  .union([text, z.array(text).min(1)], {
    error: 'it must be a script (text) or a program with its arguments (a list)',
  })
  .describe('A script for /bin/sh -e, or a program with its arguments.');

/** Values of options, by their kind. */
export const KINDS = {
  flag: z.boolean(),
  on: z.boolean(),
  text,
  texts: z.array(text),
  pairs: z.record(text, z.string()),
  count: z.int().min(1),
  duration,
  size: z.string().refine((size) => parseSize(size), 'it must be a size, like 256m or 1g'),
  zone,
  repository: text,
  argument: text,
  arguments: z.array(text),
};
