import { VolbakError } from '../core/errors.ts';

/** A yes-or-no option of a URL: `?insecure`, `?insecure=true`. */
export function flag(query: URLSearchParams, name: string, fallback: boolean): boolean {
  const value = query.get(name);
  if (value === null) return fallback;
  if (['', 'true', '1', 'yes'].includes(value)) return true;
  if (['false', '0', 'no'].includes(value)) return false;
  throw new VolbakError('USAGE', `${name} in the repository URL is true or false, not '${value}'`);
}

/** Takes percent-encoding off a part of a URL. Raises USAGE. */
export function decodePart(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch (error) {
    throw new VolbakError('USAGE', `'${text}' in the repository URL cannot be read: a % begins no code`, {
      hint: 'Write %25 for a percent sign.',
      cause: error,
    });
  }
}
