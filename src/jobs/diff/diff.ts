import type { IndexMember } from '../../core/member.ts';
import { joinByPath } from '../../tar/join.ts';

/** One difference between two volumes. */
export interface Difference {
  kind: 'added' | 'removed' | 'changed';
  path: string;
  /** What changed: type, content, mode, owner, mtime, link, device, xattrs. */
  fields: string[];
}

/** Differences between two sequences of members, both in the order of a tar; nothing is kept in memory. */
export async function* diffMembers(
  before: AsyncIterable<IndexMember>,
  after: AsyncIterable<IndexMember>,
): AsyncGenerator<Difference> {
  for await (const { left, right } of joinByPath(before, after)) {
    if (!right) yield { kind: 'removed', path: left.path, fields: [] };
    else if (!left) yield { kind: 'added', path: right.path, fields: [] };
    else {
      const fields = changedFields(left, right);
      if (fields.length > 0) yield { kind: 'changed', path: right.path, fields };
    }
  }
}

function changedFields(a: IndexMember, b: IndexMember): string[] {
  const fields: string[] = [];
  if (a.type !== b.type) fields.push('type');
  if (a.sha256 !== b.sha256 || a.size !== b.size) fields.push('content');
  if (a.mode !== b.mode) fields.push('mode');
  if (a.uid !== b.uid || a.gid !== b.gid) fields.push('owner');
  if (a.mtime !== b.mtime) fields.push('mtime');
  if (a.link !== b.link) fields.push('link');
  if (a.device !== b.device) fields.push('device');
  if (a.xattrs !== b.xattrs) fields.push('xattrs');
  return fields;
}
