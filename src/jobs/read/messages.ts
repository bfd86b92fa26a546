import type { IndexMember } from '../../core/member.ts';
import type { SlabMemory } from './slabs.ts';

/**
 * What an index needs, in its order: the number of a frame of the batch; a member that begins in it; or what became
 * known of a member in an earlier batch; or that here stands what was not read, up to the gap of that number.
 */
export type Item =
  | number
  | { member: IndexMember; done: boolean; inFrame?: number }
  | { sha256?: string; inFrame?: number; span: number }
  | { upTo: number };

export interface ReaderSetup {
  /** FIFO to read the tar from; else it comes in messages. */
  fifo: string | undefined;
  /** Without memory for frames only members are told. */
  memory: SlabMemory | undefined;
  /** The records that tar was asked to read, as RecordSpool chunks. */
  listing: Uint8Array<ArrayBuffer>[];
  /** Numbers of the records before which something is not read; see ListingJoin. */
  gaps: Uint32Array<ArrayBuffer>;
  /** True where the tar may come as several archives. */
  plain: boolean;
}

/** To the reading thread. */
export type ReaderRequest = { kind: 'bytes'; bytes: Uint8Array } | { kind: 'end' };

/** From the reading thread. Frame numbers of `inFrame` count over the whole tar. */
export type ReaderReply =
  | { kind: 'batch'; slab: number; frames: Uint32Array; firstFrame: number; items: Item[]; bytes: number }
  | { kind: 'taken' }
  | { kind: 'end'; bytes: number; missing: string[]; missingCount: number }
  | { kind: 'failed'; code: string; message: string };
