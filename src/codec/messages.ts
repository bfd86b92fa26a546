/** Raw frames to hash, look up and compress. */
export interface EncodeBatch {
  /** Memory that holds the raw frames; shared memory is read in place. */
  bytes: Uint8Array;
  /** Pairs of offset and length in `bytes`. */
  frames: Uint32Array;
}

export interface EncodedBatch {
  /** SHA-256 of each frame, 32 bytes after 32 bytes. */
  hashes: Buffer;
  /** Number of each frame's entry in the table of known frames, or -1. */
  known: Int32Array;
  /** Stored length of each frame; 0 for known ones. */
  lengths: Uint32Array;
  /** The stored bytes of the frames that were not known, one after another; only valid until `release`. */
  stored: Buffer;
  /** Gives the memory of `stored` back to the thread. MUST be called, in the order of the batches. */
  release(): void;
}

/** What a thread answers with; `slot` of its ring holds `stored`. */
export type EncodedReply = Omit<EncodedBatch, 'release'> & { slot: number };

/** Frames that hold contents cut into several of them. */
export interface ContentBatch {
  /** Contents of one stream come in order, to one thread. */
  stream: number;
  bytes: Uint8Array;
  frames: Uint32Array;
  /** Numbers of frames in the order of the content; -1 where a content ends. */
  contents: Int32Array;
}

export interface StoredFrame {
  offset: number;
  length: number;
  raw: number;
  sha256: string;
  /** It is known to be zeros and is not in `stored`. */
  zeros?: boolean;
}

/** Stored frames to decompress and check. */
export interface DecodeBatch {
  stored: Uint8Array;
  frames: StoredFrame[];
  /** Where the raw frames go; without it memory is made for them. */
  out?: SharedArrayBuffer;
}

export type WorkerRequest =
  | ({ id: number; kind: 'encode' } & EncodeBatch)
  | ({ id: number; kind: 'digest' } & ContentBatch)
  | ({ id: number; kind: 'decode' } & DecodeBatch);

export type WorkerReply =
  | { id: number; kind: 'encoded'; result: EncodedReply }
  | { id: number; kind: 'decoded'; raw: Uint8Array }
  | { id: number; kind: 'digested'; digests: string[] }
  | { id: number; kind: 'failed'; code: string; message: string };

export interface WorkerSetup {
  table: SharedArrayBuffer | undefined;
  codec: 'node' | 'wasm' | undefined;
  /** See OutputRing. */
  ring: SharedArrayBuffer;
}
