import { createPublicKey, type KeyObject, sign, verify } from 'node:crypto';
import { VolbakError } from '../core/errors.ts';
import type { Manifest } from './manifest.ts';

/** Begins what is signed, so that a signature is good for nothing else. */
const CONTEXT = 'volbak manifest 1\n';
/** Of a volume: where its frames lie, which a copy or a rewriting prune changes. */
const UNSIGNED = new Set(['index', 'segments', 'frames', 'newBytes', 'storedBytes']);
/** What stands before the 32 bytes of an Ed25519 key in its DER form (RFC 8410). */
const SPKI = Buffer.from('302a300506032b6570032100', 'hex');

/** The bytes that a manifest's signature is over: docs/format.md, "Signature". */
export function signedBytes(manifest: Manifest): Buffer {
  const { signature: _, ...rest } = manifest;
  const volumes = manifest.volumes.map((volume) =>
    Object.fromEntries(Object.entries(volume).filter(([name]) => !UNSIGNED.has(name))),
  );
  return Buffer.from(CONTEXT + canonical({ ...rest, volumes }), 'utf8');
}

/** JSON in the one form of RFC 8785: names sorted, no white space. */
function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const members = Object.entries(value)
    .filter(([, member]) => member !== undefined)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, member]) => `${JSON.stringify(name)}:${canonical(member)}`);
  return `{${members.join(',')}}`;
}

/** A writer's public key as manifests name it: its 32 bytes in base64. */
export function writerOf(key: KeyObject): string {
  return createPublicKey(key)
    .export({ format: 'der', type: 'spki' })
    .subarray(SPKI.length)
    .toString('base64');
}

/** The manifest with the writer's signature. */
export function signManifest(manifest: Manifest, key: KeyObject): Manifest {
  const value = sign(null, signedBytes(manifest), key).toString('base64');
  return { ...manifest, signature: { key: writerOf(key), value } };
}

/** The writer who signed, undefined where nobody did. Raises INTEGRITY where the signature does not fit. */
export function checkSignature(manifest: Manifest): string | undefined {
  const { signature } = manifest;
  if (!signature) return undefined;
  const key = Buffer.concat([SPKI, Buffer.from(signature.key, 'base64')]);
  const publicKey = createPublicKey({ key, format: 'der', type: 'spki' });
  if (verify(null, signedBytes(manifest), publicKey, Buffer.from(signature.value, 'base64')))
    return signature.key;
  throw new VolbakError('INTEGRITY', 'its signature does not fit: it was changed after it was written');
}
