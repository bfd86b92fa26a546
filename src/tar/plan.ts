import type { Listed } from './listing.ts';
import { isLarge, RunCutter } from './runs.ts';

/** Members that are read together or not at all: one large file, or small ones gathered. */
export interface Run {
  large: boolean;
  members: Listed[];
}

/**
 * Cuts a listing into runs, as the chunker will cut the tar. Sockets are left out: tar does not archive them.
 * A later name of a hard-linked file is a link in the tar, so it counts as a small member without content.
 */
export function* planRuns(listing: Iterable<Listed>): Generator<Run> {
  const cutter = new RunCutter();
  const inodes = new Set<number>();
  let run: Listed[] = [];
  for (const member of listing) {
    if (member.type === 'socket') continue;
    const linked = member.type === 'file' && member.nlink > 1;
    const laterName = linked && inodes.has(member.ino);
    if (linked) inodes.add(member.ino);
    if (!laterName && isLarge(member.type, member.size)) {
      if (run.length > 0) yield { large: false, members: run };
      run = [];
      cutter.reset();
      yield { large: true, members: [member] };
      continue;
    }
    run.push(member);
    const size = member.type === 'file' && !laterName ? member.size : 0;
    if (cutter.endsAfter(member.path, size)) {
      yield { large: false, members: run };
      run = [];
    }
  }
  if (run.length > 0) yield { large: false, members: run };
}
