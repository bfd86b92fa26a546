import { RecordSpool } from '../../core/chunk-spool.ts';
import type { FetchOptions } from '../../repository/fetch.ts';
import type { FrameRef } from '../../repository/frame-ref.ts';
import { memberLineStart } from '../../repository/index-lines.ts';
import type { IndexRun } from '../../repository/index-runs.ts';
import type { ManifestVolume } from '../../repository/manifest.ts';
import { listedOf } from '../../tar/listing.ts';
import { comparePaths } from '../../tar/names.ts';
import { hasOtherNames, planRuns, type Run } from '../../tar/plan.ts';
import { secondsOf, trustedBefore } from '../../tar/trust.ts';
import type { Listing } from '../read/listing.ts';
import type { Reading } from '../read/read.ts';
import { ParentRuns } from './parent-runs.ts';

/** What of a volume has to be read, and what is taken over from a parent unread. */
export interface ReusePlan {
  reading: Reading & { gaps: Uint32Array<ArrayBuffer> };
  /** For each gap in what is read: first run of the parent that stands there, and how many. */
  ranges: Uint32Array;
  /** True where the volume's tar is the parent's, frame by frame. */
  unchanged: boolean;
  /** Bytes of files to read, to tell progress by. */
  bytes: number;
}

export interface Parent {
  volume: ManifestVolume;
  fetch: FetchOptions;
  /** Segments that the store has: frames elsewhere are lost. */
  present: ReadonlySet<string>;
  /** Called for each frame that can be used. */
  onFrame(ref: FrameRef): void;
}

/** A run of the listing: how many records it has, and which run of the parent is the same (-1: none). */
interface Decisions {
  counts: number[];
  sames: number[];
  parentRuns: number;
}

/**
 * Compares a listing with the parent's index, both as streams in the order of members. A run is taken over where all its
 * members are as they were (type, size, mode, owner, times, inode, names), none is suspect, and their times are old enough
 * to have shown a change. Runs that share an inode with one that is read are read with it: tar links them.
 * `runs` are those of the parent's index. Raises INTEGRITY where it is damaged.
 */
export async function planReuse(
  listing: Listing,
  parent: Parent,
  runs: AsyncGenerator<IndexRun[]>,
): Promise<ReusePlan> {
  const links = new LinkedRuns();
  const decisions = await compare(listing, parent, runs, links);
  links.spread(decisions.sames);
  return readingOf(listing, decisions);
}

/** Of a listing that is known as a whole. */
export function unchangedPlan({ fsType, plain }: Listing): ReusePlan {
  const reading = { fsType, plain, spool: new RecordSpool(), gaps: new Uint32Array() };
  return { reading, ranges: new Uint32Array(), unchanged: true, bytes: 0 };
}

async function compare(
  listing: Listing,
  parent: Parent,
  batches: AsyncGenerator<IndexRun[]>,
  links: LinkedRuns,
): Promise<Decisions> {
  const isUnchanged = comparison(parent.volume);
  const { present, onFrame } = parent;
  const runs = new ParentRuns(batches, (ref) => {
    if (present.has(ref[0])) onFrame(ref);
  });
  const decisions: Decisions = { counts: [], sames: [], parentRuns: 0 };
  for (const run of planRuns(listedOf(listing.spool.records()))) {
    const { path } = run.members[0] as Run['members'][number];
    if (!runs.current) await runs.load();
    let same = isUnchanged(run, runs.current);
    while (!same && runs.current && comparePaths(runs.firstPath, path) < 0) {
      runs.advance();
      if (!runs.current) await runs.load();
      same = isUnchanged(run, runs.current);
    }
    same &&= runs.current?.frames.every(([segment]) => present.has(segment)) ?? false;
    links.add(run, decisions.counts.length);
    decisions.counts.push(run.members.length);
    decisions.sames.push(same ? runs.number : -1);
    if (same) runs.advance();
  }
  decisions.parentRuns = await runs.finish();
  return decisions;
}

/** Tells whether a run of the listing is a run of the parent. */
function comparison(volume: ManifestVolume): (run: Run, known: IndexRun | undefined) => boolean {
  const suspects = new Set(volume.suspects.map((path) => Buffer.from(path, 'base64').toString('latin1')));
  const before = trustedBefore({
    started: new Date(volume.listed),
    fsType: volume.fsType,
    fineTimes: volume.fineTimes ?? false,
  });
  if (before === undefined) return () => false;
  return ({ members }, known) =>
    members.length === known?.members.length &&
    members.every((member, i) => {
      const line = known.members[i] as string;
      return (
        line.startsWith(memberLineStart(member, member.laterName)) &&
        secondsOf(member.ctime) < before &&
        secondsOf(member.mtime) < before &&
        !line.endsWith(',"suspect":true}') &&
        !suspects.has(member.path)
      );
    });
}

/** Runs that hold names of the same file. */
class LinkedRuns {
  readonly #runsOf = new Map<number, number[]>();

  add(run: Run, number: number): void {
    for (const member of run.members) {
      if (!hasOtherNames(member)) continue;
      const runs = this.#runsOf.get(member.ino);
      if (!runs) this.#runsOf.set(member.ino, [number]);
      else if (runs.at(-1) !== number) runs.push(number);
    }
  }

  /** Where one of several runs is read (-1 in `sames`), all of them are. */
  spread(sames: number[]): void {
    const inodesOf = new Map<number, number[]>();
    for (const [inode, runs] of this.#runsOf) {
      for (const run of runs) {
        const inodes = inodesOf.get(run);
        if (inodes) inodes.push(inode);
        else inodesOf.set(run, [inode]);
      }
    }
    const reading = [...inodesOf.keys()].filter((run) => sames[run] === -1);
    for (let run = reading.pop(); run !== undefined; run = reading.pop()) {
      for (const inode of inodesOf.get(run) ?? []) {
        for (const other of this.#runsOf.get(inode) ?? []) {
          if (sames[other] === -1) continue;
          sames[other] = -1;
          reading.push(other);
        }
        this.#runsOf.delete(inode);
      }
    }
  }
}

function readingOf(listing: Listing, { counts, sames, parentRuns }: Decisions): ReusePlan {
  const taken = sames.reduce((sum, same) => sum + (same < 0 ? 0 : 1), 0);
  const unchanged = taken === sames.length && taken === parentRuns;
  const spool = taken === 0 ? listing.spool : new RecordSpool();
  const gaps: number[] = [];
  const ranges: number[] = [];
  let bytes = 0;
  if (taken === 0) bytes = listing.bytes;
  else if (unchanged) {
    gaps.push(0);
    ranges.push(0, parentRuns);
  } else {
    const records = listing.spool.records();
    for (let run = 0; run < counts.length; run++) {
      const same = sames[run] as number;
      if (same >= 0) takeOver(same, spool.count, gaps, ranges);
      for (let n = counts[run] as number; n > 0; n--) {
        const record = records.next().value as string;
        if (same >= 0) continue;
        spool.push(record);
        bytes += sizeOf(record);
      }
    }
  }
  return {
    reading: { fsType: listing.fsType, plain: listing.plain, spool, gaps: Uint32Array.from(gaps) },
    ranges: Uint32Array.from(ranges),
    unchanged,
    bytes,
  };
}

/** Adds a run of the parent to the last range, or begins one where the record `at` follows. */
function takeOver(run: number, at: number, gaps: number[], ranges: number[]): void {
  const last = ranges.length - 2;
  const follows =
    last >= 0 && gaps.at(-1) === at && (ranges[last] as number) + (ranges[last + 1] as number) === run;
  if (follows) {
    (ranges[last + 1] as number)++;
    return;
  }
  gaps.push(at);
  ranges.push(run, 1);
}

/** Bytes of a regular file's record, else 0. */
function sizeOf(record: string): number {
  return record.startsWith('f ') ? Number(record.slice(2, record.indexOf(' ', 2))) : 0;
}
