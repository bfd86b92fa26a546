import type { ByteString } from '../core/bytes.ts';

const SLASH = 0x2f;

/** Code of a character in the order of members: '/' lowest, as if '/' and \x01 had changed places. */
function weight(code: number): number {
  if (code === SLASH) return 1;
  return code === 1 ? SLASH : code;
}

/**
 * Order of members in a tar (format.md, "Order and runs"): bytewise with '/' lowest, so that what is in a
 * directory follows it directly. Returns <0, 0 or >0.
 */
export function comparePaths(a: ByteString, b: ByteString): number {
  const n = Math.min(a.length, b.length);
  for (let i = 0; i < n; i++) {
    const x = a.charCodeAt(i);
    const y = b.charCodeAt(i);
    if (x !== y) return weight(x) - weight(y);
  }
  return a.length - b.length;
}

/** Normal form of a member's name: "." or "./a/b", without doubled slashes or one at the end. */
export function normalisePath(name: ByteString): ByteString {
  let path = name.includes('//') ? name.replace(/\/{2,}/g, '/') : name;
  if (path.startsWith('/')) path = path.slice(1);
  if (path.endsWith('/')) path = path.slice(0, -1);
  if (path.startsWith('././')) path = path.replace(/^(\.\/)+/, './');
  if (path === '.' || path === '' || path === './.') return '.';
  return path.startsWith('./') ? path : `./${path}`;
}

/** True if `path` is `ancestor` or lies below it (both in normal form). */
export function isWithin(path: ByteString, ancestor: ByteString): boolean {
  return ancestor === '.' || path === ancestor || path.startsWith(`${ancestor}/`);
}

/**
 * `path` (in normal form) without its first `count` components, counted after the leading "./".
 * Undefined where nothing is left: such a member is not restored.
 */
export function stripComponents(path: ByteString, count: number): ByteString | undefined {
  if (count === 0) return path;
  if (path === '.') return undefined;
  const parts = path.slice(2).split('/');
  return parts.length > count ? `./${parts.slice(count).join('/')}` : undefined;
}

/**
 * 32-bit hash of a path that decides where runs and index frames end: FNV-1a with murmur3's finaliser.
 * Part of format 1: a change of it makes every later backup cut differently.
 */
export function pathHash(path: ByteString): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < path.length; i++) h = Math.imul(h ^ path.charCodeAt(i), 0x01000193);
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
