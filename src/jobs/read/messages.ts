import type { IndexMember } from '../../core/member.ts';
import type { SlabMemory } from './slabs.ts';

/** Where a content's SHA-256 comes from that the reading thread did not take itself. */
export interface HashFrom {
  /** It is that of this frame's raw bytes; numbers count over the whole tar. */
  inFrame?: number;
  /** It is the next of the batch's `contents`. */
  cut?: true;
}

/**
 * What an index needs, in its order: the number of a frame of the batch; a member that begins in it; or what became
 * known of a member in an earlier batch; or that here stands what was not read, up to the gap of that number.
 */
export type Item =
  | number
  | ({ member: IndexMember; done: boolean } & HashFrom)
  | ({ sha256?: string; span: number } & HashFrom)
  | { upTo: number };

export interface ReaderSetup {
  kind: 'setup';
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

/** To the reading thread: the setup first. */
export type ReaderRequest = ReaderSetup | { kind: 'bytes'; bytes: Uint8Array } | { kind: 'end' };

/** A few MiB of what was read. */
export interface BatchReply {
  kind: 'batch';
  slab: number;
  frames: Uint32Array;
  /** See ContentBatch. */
  contents: Int32Array;
  firstFrame: number;
  items: Item[];
  bytes: number;
}

/** From the reading thread. */
export type ReaderReply =
  | BatchReply
  | { kind: 'taken' }
  | { kind: 'end'; bytes: number; missing: string[]; missingCount: number }
  | { kind: 'failed'; code: string; message: string };
