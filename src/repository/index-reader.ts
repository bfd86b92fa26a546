import type { IndexMember } from '../core/member.ts';
import { type FetchOptions, fetchFrames } from './fetch.ts';
import type { FrameRef } from './frame-ref.ts';
import { type IndexLine, parseIndexLine } from './index-lines.ts';

/** The lines of an index, streamed; frames are cut at line ends. Raises INTEGRITY. */
export async function* readIndex(
  index: readonly FrameRef[],
  options: FetchOptions,
): AsyncGenerator<IndexLine> {
  for await (const raw of fetchFrames(index, options)) {
    const text = Buffer.from(raw.buffer, raw.byteOffset, raw.byteLength).toString('utf8');
    let at = 0;
    for (let end = text.indexOf('\n', at); end >= 0; end = text.indexOf('\n', at)) {
      yield parseIndexLine(text.slice(at, end));
      at = end + 1;
    }
    if (at < text.length) yield parseIndexLine(text.slice(at));
  }
}

/** The members of a volume, in order. */
export async function* readMembers(
  index: readonly FrameRef[],
  options: FetchOptions,
): AsyncGenerator<IndexMember> {
  for await (const line of readIndex(index, options)) if (line.kind === 'member') yield line.member;
}

/** References to the frames of a volume's tar, in order. */
export async function* readFrameRefs(
  index: readonly FrameRef[],
  options: FetchOptions,
): AsyncGenerator<FrameRef> {
  for await (const line of readIndex(index, options)) if (line.kind === 'frame') yield line.frame;
}

/** The volume's tar, whole and in order, each frame checked. */
export function readTar(index: readonly FrameRef[], options: FetchOptions): AsyncGenerator<Uint8Array> {
  return fetchFrames(readFrameRefs(index, options), options);
}
