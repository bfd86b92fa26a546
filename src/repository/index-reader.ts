import type { IndexMember } from '../core/member.ts';
import { type FetchOptions, fetchFrames, fetchIndexFrames } from './fetch.ts';
import type { FrameRef } from './frame-ref.ts';
import { type IndexLine, isFrameLine, parseIndexLine } from './index-lines.ts';

/** The text lines of an index, streamed; frames are cut at line ends. Raises INTEGRITY. */
async function* readLines(index: readonly FrameRef[], options: FetchOptions): AsyncGenerator<string> {
  for await (const raw of fetchIndexFrames(index, options)) {
    const text = Buffer.from(raw.buffer, raw.byteOffset, raw.byteLength).toString('utf8');
    let at = 0;
    for (let end = text.indexOf('\n', at); end >= 0; end = text.indexOf('\n', at)) {
      yield text.slice(at, end);
      at = end + 1;
    }
    if (at < text.length) yield text.slice(at);
  }
}

/** The lines of an index, parsed. Raises INTEGRITY. */
export async function* readIndex(
  index: readonly FrameRef[],
  options: FetchOptions,
): AsyncGenerator<IndexLine> {
  for await (const line of readLines(index, options)) yield parseIndexLine(line);
}

/** The members of a volume, in order. */
export async function* readMembers(
  index: readonly FrameRef[],
  options: FetchOptions,
): AsyncGenerator<IndexMember> {
  for await (const line of readIndex(index, options)) if (line.kind === 'member') yield line.member;
}

/** References to the frames of a volume's tar, in order; members are not even parsed. */
export async function* readFrameRefs(
  index: readonly FrameRef[],
  options: FetchOptions,
): AsyncGenerator<FrameRef> {
  for await (const text of readLines(index, options)) {
    if (!isFrameLine(text)) continue;
    const line = parseIndexLine(text);
    if (line.kind === 'frame') yield line.frame;
  }
}

/** The volume's tar, whole and in order, each frame checked. */
export function readTar(index: readonly FrameRef[], options: FetchOptions): AsyncGenerator<Uint8Array> {
  return fetchFrames(readFrameRefs(index, { ...options, passing: false }), options);
}
