import { VolbakError } from '../core/errors.ts';

const PART = /^[A-Za-z0-9._~%@=,+-]+$/;

/** Refuses keys that could leave the store's place or that some store cannot hold. */
export function assertKey(key: string): void {
  const parts = key.split('/');
  if (
    key.length > 900 ||
    parts.some((part) => !PART.test(part) || /^\.\.?$/.test(part) || part.startsWith('.tmp-'))
  ) {
    throw new VolbakError('UNEXPECTED', `not a valid key for a store: ${JSON.stringify(key)}`);
  }
}
