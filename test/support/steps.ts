import type { GetOptions, PutOptions, Store, StoredObject } from '../../src/store/store.ts';
import { StoreWrapper } from '../../src/store/wrapper.ts';

/** A store that calls `before` ahead of each request: what a test does there happens between two steps of a program. */
export class SteppedStore extends StoreWrapper {
  readonly #before: (verb: string, key: string) => Promise<void>;

  constructor(inner: Store, before: (verb: string, key: string) => Promise<void>) {
    super(inner);
    this.#before = before;
  }

  override async put(key: string, bytes: Uint8Array, options?: PutOptions): Promise<void> {
    // What is on its way is what it was when it was sent.
    const sent = Buffer.from(bytes);
    await this.#before('put', key);
    await this.inner.put(key, sent, options);
  }

  override async get(key: string, options?: GetOptions): Promise<Buffer> {
    await this.#before('get', key);
    return this.inner.get(key, options);
  }

  override async stat(key: string, options?: { signal?: AbortSignal }): Promise<StoredObject> {
    await this.#before('stat', key);
    return this.inner.stat(key, options);
  }

  override async *list(prefix: string, options?: { signal?: AbortSignal }): AsyncIterable<StoredObject> {
    await this.#before('list', prefix);
    yield* this.inner.list(prefix, options);
  }

  override async delete(key: string, options?: { signal?: AbortSignal }): Promise<void> {
    await this.#before('delete', key);
    await this.inner.delete(key, options);
  }
}

/** Runs `program` on a store whose request number `at` is preceded by `meanwhile`; answers with the number of requests. */
export async function interrupt(
  store: Store,
  at: number,
  meanwhile: () => Promise<unknown>,
  program: (store: Store) => Promise<unknown>,
): Promise<{ steps: number; failure: Error | undefined }> {
  let step = 0;
  const stepped = new SteppedStore(store, async () => {
    if (step++ === at) await meanwhile();
  });
  const failure = await program(stepped).then(
    () => undefined,
    (error: Error) => error,
  );
  return { steps: step, failure };
}
