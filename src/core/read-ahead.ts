/** Maps an async sequence with up to `ahead` calls of `map` under way; results come in order. */
export async function* readAhead<T, R>(
  source: AsyncIterable<T> | Iterable<T>,
  ahead: number,
  map: (item: T) => Promise<R>,
): AsyncGenerator<R> {
  const queue: Promise<R>[] = [];
  try {
    for await (const item of source) {
      const result = map(item);
      // It may fail before its turn comes; its turn reports it.
      result.catch(() => {});
      queue.push(result);
      if (queue.length >= ahead) yield await (queue.shift() as Promise<R>);
    }
    for (let next = queue.shift(); next; next = queue.shift()) yield await next;
  } finally {
    await Promise.allSettled(queue);
  }
}
