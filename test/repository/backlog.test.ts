import { describe, expect, it } from 'vitest';
import { SegmentNames, SegmentWriter } from '../../src/repository/segments.ts';
import { MemoryStore } from '../../src/store/memory.ts';
import { StoreWrapper } from '../../src/store/wrapper.ts';

/** Puts nothing before it is let. */
class HaltedStore extends StoreWrapper {
  under = 0;
  most = 0;
  go: () => void = () => {};
  readonly #gate = new Promise<void>((resolve) => {
    this.go = resolve;
  });

  override async put(key: string, bytes: Uint8Array): Promise<void> {
    this.most = Math.max(this.most, ++this.under);
    await this.#gate;
    await this.inner.put(key, bytes);
    this.under--;
  }
}

/** Closes segments until that has to wait for the store; answers with how many it could. */
async function closedBeforeWaiting(writer: SegmentWriter, most: number): Promise<number> {
  for (let n = 0; n < most; n++) {
    await writer.add(Buffer.from(`frame ${n}`));
    const closed = writer.close().then(() => true);
    const waited = new Promise<boolean>((resolve) => setTimeout(() => resolve(false), 30));
    if (!(await Promise.race([closed, waited]))) return n;
  }
  return most;
}

describe('segments that wait for a slow store', () => {
  it.each([
    [1, 0, 1],
    [3, 0, 3],
    [1, 8, 9],
  ])(
    '%i at once and a backlog of %i: %i are closed before anybody waits',
    async (parallel, backlog, closed) => {
      const store = new HaltedStore(new MemoryStore());
      const writer = new SegmentWriter({ store, names: new SegmentNames(), parallel });
      writer.backlog = backlog;
      expect(await closedBeforeWaiting(writer, 20)).toBe(closed);
      expect(store.most).toBeLessThanOrEqual(parallel + 1);
      store.go();
      await writer.flush();
      const stored: string[] = [];
      for await (const { key } of store.list('segments/')) stored.push(key);
      expect(stored).toHaveLength(closed + 1);
      expect(writer.written).toHaveLength(closed + 1);
    },
  );
});
