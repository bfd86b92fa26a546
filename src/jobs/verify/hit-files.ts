import { printable } from '../../core/bytes.ts';
import type { FetchOptions } from '../../repository/fetch.ts';
import { readIndex } from '../../repository/index-reader.ts';
import type { ManifestVolume } from '../../repository/manifest.ts';

/** More are not named. */
const MOST = 100;

/** Paths, printable, of the files in a volume whose tar lies in part in damaged segments. Raises INTEGRITY. */
export async function hitFiles(
  volume: ManifestVolume,
  damaged: ReadonlySet<string>,
  fetch: FetchOptions,
): Promise<string[]> {
  const paths: string[] = [];
  const bad: { from: number; to: number }[] = [];
  let [frameEnd, position] = [0, 0];
  const waiting: { path: string; from: number; to: number }[] = [];
  const settle = () => {
    for (const { path, from, to } of waiting)
      if (bad.some((b) => b.from < to && from < b.to)) paths.push(printable(path));
    waiting.length = 0;
    bad.splice(0, bad.length, ...bad.filter((b) => b.to > position));
  };
  for await (const line of readIndex(volume.index, fetch)) {
    if (line.kind === 'frame') {
      if (frameEnd >= position) settle();
      const from = frameEnd;
      frameEnd += line.frame[3];
      if (damaged.has(line.frame[0])) bad.push({ from, to: frameEnd });
    } else if (line.kind === 'member') {
      waiting.push({ path: line.member.path, from: position, to: position + line.member.span });
      position += line.member.span;
    }
    if (paths.length >= MOST) break;
  }
  settle();
  return paths;
}
