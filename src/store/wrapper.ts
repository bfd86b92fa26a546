import type { GetOptions, PutOptions, Store, StoredObject } from './store.ts';

/** A store that passes everything on; wrappers override what they change. */
export class StoreWrapper implements Store {
  protected readonly inner: Store;

  constructor(inner: Store) {
    this.inner = inner;
  }

  get label(): string {
    return this.inner.label;
  }

  put(key: string, bytes: Uint8Array, options?: PutOptions): Promise<void> {
    return this.inner.put(key, bytes, options);
  }

  get(key: string, options?: GetOptions): Promise<Buffer> {
    return this.inner.get(key, options);
  }

  stat(key: string, options?: { signal?: AbortSignal }): Promise<StoredObject> {
    return this.inner.stat(key, options);
  }

  list(prefix: string, options?: { signal?: AbortSignal }): AsyncIterable<StoredObject> {
    return this.inner.list(prefix, options);
  }

  delete(key: string, options?: { signal?: AbortSignal }): Promise<void> {
    return this.inner.delete(key, options);
  }

  close(): Promise<void> {
    return this.inner.close();
  }
}
