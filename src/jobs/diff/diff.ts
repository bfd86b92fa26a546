import type { IndexMember } from '../../core/member.ts';
import { comparePaths } from '../../tar/names.ts';

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
  const left = before[Symbol.asyncIterator]();
  const right = after[Symbol.asyncIterator]();
  let a = await left.next();
  let b = await right.next();
  while (!a.done || !b.done) {
    const order = a.done ? 1 : b.done ? -1 : comparePaths(a.value.path, b.value.path);
    if (order < 0) {
      yield { kind: 'removed', path: (a.value as IndexMember).path, fields: [] };
      a = await left.next();
    } else if (order > 0) {
      yield { kind: 'added', path: (b.value as IndexMember).path, fields: [] };
      b = await right.next();
    } else {
      const fields = changedFields(a.value as IndexMember, b.value as IndexMember);
      if (fields.length > 0) yield { kind: 'changed', path: (b.value as IndexMember).path, fields };
      a = await left.next();
      b = await right.next();
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
