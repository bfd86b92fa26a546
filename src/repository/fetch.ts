import type { FramePool } from '../codec/pool.ts';
import { isVolbakError, VolbakError } from '../core/errors.ts';
import { readAhead } from '../core/read-ahead.ts';
import type { Store } from '../store/store.ts';
import type { FrameRef } from './frame-ref.ts';
import type { IndexCache } from './index-cache.ts';
import { segmentKey } from './keys.ts';
import { isZeroFrame } from './zero-frames.ts';

const GROUP_STORED = 4 * 1024 * 1024;
const GROUP_RAW = 8 * 1024 * 1024;

export interface FetchOptions {
  store: Store;
  pool: FramePool;
  /** Groups under way at the same time; bounds memory to about 12 MiB each. */
  parallel?: number;
  signal?: AbortSignal;
  /** Where frames of indexes may be at hand. */
  cache?: IndexCache;
  /** What `fetchFrames` yields is only valid until the next is asked for: its memory is used again. */
  passing?: boolean;
}

/** Frames that lie one after another in a segment: one ranged read. Frames of zeros among them lie anywhere. */
export interface FrameGroup {
  segment: string;
  offset: number;
  length: number;
  raw: number;
  frames: FrameRef[];
}

/**
 * Gathers references in order into groups of neighbours, a few MiB each. Of each large file the padding is a frame that
 * many files share: it takes no reading, and those before and after it stay neighbours.
 */
export async function* groupFrames(
  refs: AsyncIterable<FrameRef> | Iterable<FrameRef>,
): AsyncGenerator<FrameGroup> {
  let group: FrameGroup | undefined;
  for await (const ref of refs) {
    const [segment, offset, stored, raw] = ref;
    const length = isZeroFrame(ref) ? 0 : stored;
    const joins =
      group !== undefined &&
      (length === 0 ||
        group.length === 0 ||
        (group.segment === segment && group.offset + group.length === offset)) &&
      group.length + length <= GROUP_STORED &&
      group.raw + raw <= GROUP_RAW;
    if (group && joins) {
      if (group.length === 0) Object.assign(group, { segment, offset });
      group.length += length;
      group.raw += raw;
      group.frames.push(ref);
    } else {
      if (group) yield group;
      group = { segment, offset, length, raw, frames: [ref] };
    }
  }
  if (group) yield group;
}

/** One ranged read and its decoding: the raw frames of a group, checked; in `out`, where that is given. */
export async function fetchGroup(
  group: FrameGroup,
  options: FetchOptions,
  out?: SharedArrayBuffer,
): Promise<Uint8Array> {
  const { store, pool, signal } = options;
  if (group.frames.every(isZeroFrame)) return new Uint8Array(group.raw);
  const key = segmentKey(group.segment);
  try {
    const range = { offset: group.offset, length: group.length };
    const stored = await store.get(key, signal ? { range, signal } : { range });
    const frames = group.frames.map((ref) => {
      const [, offset, length, raw, sha256] = ref;
      if (isZeroFrame(ref)) return { offset: 0, length: 0, raw, sha256, zeros: true };
      return { offset: offset - group.offset, length, raw, sha256 };
    });
    return await pool.decode(out ? { stored, frames, out } : { stored, frames });
  } catch (error) {
    if (isVolbakError(error, 'STORE_NOT_FOUND')) {
      throw new VolbakError('INTEGRITY', `segment ${group.segment} is missing from ${store.label}`, {
        cause: error,
      });
    }
    if (isVolbakError(error, 'INTEGRITY')) {
      throw new VolbakError(
        'INTEGRITY',
        `segment ${group.segment} in ${store.label} is damaged: ${error.message}`,
        {
          cause: error,
          hint: 'Run `volbak verify` to see what it hits.',
        },
      );
    }
    throw error;
  }
}

/** The raw bytes of frames in the order of `refs`, fetched and decoded ahead. Raises INTEGRITY. */
export async function* fetchFrames(
  refs: AsyncIterable<FrameRef> | Iterable<FrameRef>,
  options: FetchOptions,
): AsyncGenerator<Uint8Array> {
  const ahead = options.parallel ?? options.pool.width + 1;
  if (!options.passing) {
    yield* readAhead(groupFrames(refs), ahead, (group) => fetchGroup(group, options));
    return;
  }
  // New memory for each group would be gone through page by page by the kernel: a third of what a restore costs.
  const free: SharedArrayBuffer[] = [];
  const groups = readAhead(groupFrames(refs), ahead, async (group) => {
    const memory = free.pop() ?? new SharedArrayBuffer(GROUP_RAW);
    return { memory, raw: await fetchGroup(group, options, memory) };
  });
  for await (const { memory, raw } of groups) {
    yield raw;
    free.push(memory);
  }
}

/** The same for the frames of an index, as far as they can be had out of the cache. */
export async function* fetchIndexFrames(
  index: readonly FrameRef[],
  options: FetchOptions,
): AsyncGenerator<Uint8Array> {
  const { cache } = options;
  await cache?.open();
  let missing: FrameRef[] = [];
  for (const ref of index) {
    const raw = cache?.has(ref[4]) ? await cache.frame(ref[4]) : undefined;
    if (!raw) {
      missing.push(ref);
      continue;
    }
    yield* fetchFrames(missing, options);
    missing = [];
    yield raw;
  }
  yield* fetchFrames(missing, options);
}
