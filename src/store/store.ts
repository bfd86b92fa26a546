/** One object as a listing names it. */
export interface StoredObject {
  key: string;
  size: number;
  /** By the store's own clock. */
  modified: Date;
}

export interface PutOptions {
  /** Raise STORE_EXISTS instead of replacing an object of this key. */
  ifAbsent?: boolean;
  signal?: AbortSignal;
}

export interface GetOptions {
  /** Only these bytes; a range that reaches beyond the object's end is an error. */
  range?: { offset: number; length: number };
  signal?: AbortSignal;
}

/**
 * Where a repository lives: a flat space of small immutable objects. Every implementation runs the suite in
 * test/contract/store.ts. Keys are relative paths of printable ASCII with '/' between their parts.
 */
export interface Store {
  /** Names the store in messages; MUST hold no secret. */
  readonly label: string;
  /** Writes an object whole or not at all. MUST be durable when it resolves, and visible to `get` and `list`. */
  put(key: string, bytes: Uint8Array, options?: PutOptions): Promise<void>;
  /** MUST return exactly the bytes asked for; raises STORE_NOT_FOUND, and INTEGRITY for a short answer. */
  get(key: string, options?: GetOptions): Promise<Buffer>;
  /** Raises STORE_NOT_FOUND. */
  stat(key: string, options?: { signal?: AbortSignal }): Promise<StoredObject>;
  /** Objects whose key starts with `prefix`, in any order. An absent place is an empty listing. */
  list(prefix: string, options?: { signal?: AbortSignal }): AsyncIterable<StoredObject>;
  /** MUST succeed where the object is gone already. */
  delete(key: string, options?: { signal?: AbortSignal }): Promise<void>;
  /** Frees connections. */
  close(): Promise<void>;
}
