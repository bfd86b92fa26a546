import { comparePaths } from './names.ts';

/** One path of two sequences: what each of them has there, at least one of them. */
export type Pair<T> = { left: T; right: T } | { left: T; right: undefined } | { left: undefined; right: T };

/** Joins two sequences, both in the order of a tar, by path; nothing is kept in memory. */
export async function* joinByPath<T extends { path: string }>(
  lefts: AsyncIterable<T>,
  rights: AsyncIterable<T>,
): AsyncGenerator<Pair<T>> {
  const left = lefts[Symbol.asyncIterator]();
  const right = rights[Symbol.asyncIterator]();
  let [a, b] = [await left.next(), await right.next()];
  while (!a.done || !b.done) {
    const order = a.done ? 1 : b.done ? -1 : comparePaths(a.value.path, b.value.path);
    if (order < 0) yield { left: a.value as T, right: undefined };
    else if (order > 0) yield { left: undefined, right: b.value as T };
    else yield { left: a.value as T, right: b.value as T };
    if (order <= 0) a = await left.next();
    if (order >= 0) b = await right.next();
  }
}
