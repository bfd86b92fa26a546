import { createHash } from 'node:crypto';

const PREFIX = 'SCHILY.xattr.';

/** Attributes that belong to the machine, not to the data; never archived (format.md). */
const LEFT_OUT = new Set(['security.selinux', 'security.ima', 'security.evm']);

/**
 * SHA-256 (hex) over a member's extended attributes, `undefined` where it has none.
 * One line each, in byte order of the names: `<name>=0x<value in hex>` and a newline: what
 * `getfattr -d -m - -e hex` prints. POSIX ACLs count as `system.posix_acl_*`, in the kernel's own encoding;
 * tar's SCHILY.acl.* text depends on its version and the helper's user names and does not count.
 */
export function hashXattrs(records: ReadonlyMap<string, string>): string | undefined {
  const attributes: [name: string, value: string][] = [];
  for (const [key, value] of records) {
    if (!key.startsWith(PREFIX)) continue;
    // GNU tar writes '=' as %3D and '%' as %25 in names: a pax key ends at its first '='.
    const name = key.slice(PREFIX.length).replace(/%3D|%25/g, (code) => (code === '%25' ? '%' : '='));
    if (!LEFT_OUT.has(name) && !name.startsWith('trusted.')) attributes.push([name, value]);
  }
  if (attributes.length === 0) return undefined;
  const hash = createHash('sha256');
  for (const [name, value] of attributes.sort(([a], [b]) => (a < b ? -1 : 1))) {
    const hex = Buffer.from(value, 'latin1').toString('hex');
    hash.update(Buffer.from(`${name}=0x${hex}\n`, 'latin1'));
  }
  return hash.digest('hex');
}
