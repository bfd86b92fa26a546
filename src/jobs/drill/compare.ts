import { type ByteString, printable } from '../../core/bytes.ts';
import type { IndexMember } from '../../core/member.ts';
import type { Attachment } from '../../engine/attachment.ts';
import type { FetchOptions } from '../../repository/fetch.ts';
import { readMembers } from '../../repository/index-reader.ts';
import type { ManifestVolume } from '../../repository/manifest.ts';
import { digestLine } from '../../tar/digest.ts';
import { joinByPath } from '../../tar/join.ts';
import type { EngineContext } from '../engine-context.ts';
import { digestVolume } from '../read/digest.ts';

/** A member that is not what the snapshot says. */
export interface Difference {
  /** Printable. */
  path: string;
  what: 'missing' | 'extra' | 'changed';
  /** Of a changed one: what differs. */
  fields?: string[];
}

export interface Comparison {
  same: boolean;
  entries: number;
  /** The first of them. */
  differences: Difference[];
  count: number;
}

/** Differences that are named; more are counted. */
const MAX_NAMED = 1000;

const FIELDS = ['type', 'mode', 'uid', 'gid', 'mtime', 'size', 'device', 'xattrs', 'sha256', 'link'] as const;

/** Fields of the digest in which two members of one path differ. */
export function differingFields(a: IndexMember, b: IndexMember): string[] {
  const compared = a.type === 'hardlink' && b.type === 'hardlink' ? (['link'] as const) : FIELDS;
  return compared
    .filter((field) => field !== 'size' || a.type === 'file' || b.type === 'file')
    .filter((field) => a[field] !== b[field])
    .map((field) => (field === 'sha256' ? 'content' : field));
}

/** Joins two lists of members, both in the order of a tar. */
export async function* joinMembers(
  expected: AsyncIterable<IndexMember>,
  found: AsyncIterable<IndexMember>,
): AsyncGenerator<Difference> {
  for await (const { left, right } of joinByPath(expected, found)) {
    if (!right) yield difference(left.path, 'missing');
    else if (!left) yield difference(right.path, 'extra');
    else if (!digestLine(left).equals(digestLine(right))) {
      yield { ...difference(left.path, 'changed'), fields: differingFields(left, right) };
    }
  }
}

function difference(path: ByteString, what: Difference['what']): Difference {
  return { path: printable(path), what };
}

/** Members from whoever tells them to whoever asks for them. */
class MemberQueue {
  #members: IndexMember[] = [];
  #ended = false;
  #wake = () => {};

  push(member: IndexMember): void {
    this.#members.push(member);
    this.#wake();
  }

  end(): void {
    this.#ended = true;
    this.#wake();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<IndexMember> {
    for (;;) {
      const members = this.#members;
      this.#members = [];
      yield* members;
      if (this.#members.length > 0) continue;
      if (this.#ended) return;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}

/**
 * Reads a restored volume back and compares it with the snapshot's index, member by member, in one pass. What is read
 * waits in memory only as long as the index is slower, and that is a fraction of the volume.
 */
export async function compareVolume(
  ctx: EngineContext,
  attachment: Attachment,
  path: string,
  volume: ManifestVolume,
  fetch: FetchOptions,
): Promise<Comparison> {
  const queue = new MemberQueue();
  const reading = digestVolume(ctx, attachment, path, { onMember: (member) => queue.push(member) });
  reading.then(
    () => queue.end(),
    () => queue.end(),
  );
  const differences: Difference[] = [];
  let count = 0;
  try {
    for await (const found of joinMembers(readMembers(volume.index, fetch), queue)) {
      count++;
      if (differences.length < MAX_NAMED) differences.push(found);
    }
  } finally {
    await reading.catch(() => {});
  }
  const { digest, entries } = await reading;
  return { same: count === 0 && digest === volume.digest, entries, differences, count };
}
