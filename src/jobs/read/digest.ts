import type { IndexMember } from '../../core/member.ts';
import type { Attachment } from '../../engine/attachment.ts';
import { VolumeDigest } from '../../tar/digest.ts';
import type { EngineContext } from '../engine-context.ts';
import { listVolume } from './list.ts';
import type { Listing } from './listing.ts';
import type { Item } from './messages.ts';
import { type Reading, type ReadResult, readVolume } from './read.ts';

export interface DigestedVolume {
  digest: string;
  entries: number;
  /** False where files changed or could not be read meanwhile. */
  complete: boolean;
}

/** Puts members together whose hash came in a later batch. */
class MemberAssembler {
  readonly #onMember: (member: IndexMember) => void;
  #waiting: { member: IndexMember; done: boolean }[] = [];

  constructor(onMember: (member: IndexMember) => void) {
    this.#onMember = onMember;
  }

  take(items: readonly Item[]): void {
    for (const item of items) {
      if (typeof item === 'number' || 'upTo' in item) continue;
      if ('member' in item) this.#waiting.push(item);
      else this.#complete(item);
      while (this.#waiting[0]?.done)
        this.#onMember((this.#waiting.shift() as { member: IndexMember }).member);
    }
  }

  #complete({ sha256, span }: { sha256?: string; span: number }): void {
    const open = this.#waiting.find((item) => !item.done);
    if (!open) return;
    open.member.span = span;
    if (sha256 !== undefined) open.member.sha256 = sha256;
    open.done = true;
  }
}

/** Reads a volume through the front half of a backup, storing nothing: its digest, and its members if wanted. */
export async function digestVolume(
  ctx: EngineContext,
  attachment: Attachment,
  path: string,
  options: { onMember?(member: IndexMember): void; listing?: Listing } = {},
): Promise<DigestedVolume> {
  const listing = options.listing ?? (await listVolume(ctx, attachment, path));
  const digest = new VolumeDigest();
  let entries = 0;
  const result = await readMembers(ctx, attachment, path, listing, (member) => {
    entries++;
    digest.add(member);
    options.onMember?.(member);
  });
  return {
    digest: digest.digest(),
    entries,
    complete: listing.complaints.length === 0 && result.complaints.every(({ kind }) => kind === 'warning'),
  };
}

/** Reads the listed members, storing nothing; `onMember` gets each with its hash. */
export function readMembers(
  ctx: EngineContext,
  attachment: Attachment,
  path: string,
  reading: Reading,
  onMember: (member: IndexMember) => void,
): Promise<ReadResult> {
  const assembler = new MemberAssembler(onMember);
  return readVolume(ctx, attachment, path, reading, { onBatch: ({ items }) => assembler.take(items) });
}
