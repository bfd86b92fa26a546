/** Passes a stream on and tells after each chunk how many bytes went through. */
export async function* counted<T extends Uint8Array>(
  source: AsyncIterable<T>,
  tell: (done: number) => void,
): AsyncGenerator<T> {
  let done = 0;
  for await (const bytes of source) {
    done += bytes.length;
    yield bytes;
    tell(done);
  }
}
