import { createHash } from 'node:crypto';
import { toBytes } from '../core/bytes.ts';
import type { IndexMember } from '../core/member.ts';

/** The line of one member in a volume's digest; docs/format.md describes it, recipes/digest.sh writes it too. */
export function digestLine(m: IndexMember): Buffer {
  const fields =
    m.type === 'hardlink'
      ? ['hardlink', '-', '-', '-', '-', '-', '-', '-', '-']
      : [
          m.type,
          m.mode.toString(8),
          m.uid,
          m.gid,
          m.mtime,
          m.type === 'file' ? m.size : '-',
          m.device ?? '-',
          m.xattrs ?? '-',
          m.sha256 ?? '-',
        ];
  return toBytes(`${fields.join(' ')} ${m.path}\0${m.link ?? ''}\0`);
}

/**
 * SHA-256 over what is *in* a volume, member by member in order; the same for equal volumes whatever
 * their hole maps, tar versions or frame cuts.
 */
export class VolumeDigest {
  readonly #hash = createHash('sha256');

  add(member: IndexMember): void {
    this.#hash.update(digestLine(member));
  }

  digest(): string {
    return this.#hash.digest('hex');
  }
}
