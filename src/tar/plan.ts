import type { Listed } from './listing.ts';
import { isLarge, RunCutter } from './runs.ts';

/** A listed member, and whether tar archives it as a link to a name before it. */
export interface PlannedMember extends Listed {
  laterName: boolean;
}

/** Members that are read together or not at all: one large file, or small ones gathered. */
export interface Run {
  large: boolean;
  members: PlannedMember[];
}

/**
 * Cuts a listing into runs, as the chunker will cut the tar. Sockets are left out: tar does not archive them.
 * A later name of a hard-linked file is a link in the tar, so it counts as a small member without content. Names are
 * told apart by inode alone: of two file systems in one volume the cuts may be others than tar's, never the content.
 */
export function* planRuns(listing: Iterable<Listed>): Generator<Run> {
  const cutter = new RunCutter();
  const inodes = new Set<number>();
  let run: PlannedMember[] = [];
  for (const listed of listing) {
    if (listed.type === 'socket') continue;
    const linked = hasOtherNames(listed);
    const laterName = linked && inodes.has(listed.ino);
    if (linked) inodes.add(listed.ino);
    const member = { ...listed, laterName };
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

/** True for files and symbolic links with several names: tar archives all but the first as links. */
export function hasOtherNames({ type, nlink }: Listed): boolean {
  return nlink > 1 && (type === 'file' || type === 'symlink');
}
