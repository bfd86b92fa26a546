import { createHash } from 'node:crypto';
import { BLOCK } from '../tar/header.ts';
import type { FrameRef } from './frame-ref.ts';

/** By length, as far as they were asked for. */
const hashes: string[] = [];

function hashOfZeros(length: number): string {
  hashes[length] ??= createHash('sha256').update(Buffer.alloc(length)).digest('hex');
  return hashes[length];
}

/** True for the padding behind a content, and for the end of a tar: zeros, known without being fetched. */
export function isZeroFrame([, , , raw, sha256]: FrameRef): boolean {
  return raw <= 2 * BLOCK && sha256 === hashOfZeros(raw);
}
