import { hash } from 'node:crypto';
import type { FrameRef } from './frame-ref.ts';

/** The longest of them: two blocks end a tar. */
const MOST = 1024;

/** By length, as far as they were asked for. */
const hashes: string[] = [];

function hashOfZeros(length: number): string {
  hashes[length] ??= hash('sha256', Buffer.alloc(length));
  return hashes[length];
}

/** True for the padding behind a content, and for the end of a tar: zeros, known without being fetched. */
export function isZeroFrame([, , , raw, sha256]: FrameRef): boolean {
  return raw <= MOST && sha256 === hashOfZeros(raw);
}
