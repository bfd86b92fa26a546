import { VolbakError } from '../core/errors.ts';
import type { EventSink } from '../core/events.ts';
import type { IndexMember } from '../core/member.ts';
import { readAhead } from '../core/read-ahead.ts';
import { type FetchOptions, fetchGroup, groupFrames } from '../repository/fetch.ts';
import type { FrameHandle } from '../repository/frame-handle.ts';
import type { FrameRef } from '../repository/frame-ref.ts';
import type { FrameWriter } from '../repository/frame-writer.ts';
import type { IndexLine } from '../repository/index-lines.ts';
import type { ManifestVolume } from '../repository/manifest.ts';
import { VolumeIndex } from '../repository/volume-index.ts';
import { VolumeDigest } from '../tar/digest.ts';
import { pathHash } from '../tar/names.ts';

/** Raw frames, one after another: some of those asked for, in their order. */
export interface RawFrames {
  bytes: Uint8Array;
  /** Raw lengths. */
  lengths: number[];
}

export interface TransferOptions {
  writer: FrameWriter;
  emit: EventSink;
  action: string;
  /** The index to go by. */
  lines: AsyncIterable<IndexLine>;
  /** How the writer knows a frame that needs not be stored; undefined for one that is fetched and stored. */
  known(ref: FrameRef): FrameHandle | undefined;
  /** The raw bytes of frames, in order. */
  fetch(refs: readonly FrameRef[]): AsyncIterable<RawFrames>;
}

/** Part of an index whose frames are fetched together: a frame is a number in `missing`, or known by its handle. */
interface Unit {
  lines: (IndexMember | { missing: number } | { known: FrameHandle })[];
  missing: FrameRef[];
  raw: number;
}

const UNIT_RAW = 4 * 1024 * 1024;
const UNIT_LINES = 8192;

/**
 * Stores a volume of a snapshot anew from its index: frames that are not known are fetched and written, and an index that
 * names where all of them lie now. Copying, rewriting and repairing are this with other sources of frames.
 * Raises INTEGRITY where the index is not that of the volume's digest.
 */
export async function transferVolume(
  volume: ManifestVolume,
  options: TransferOptions,
): Promise<{ index: FrameRef[]; segments: string[] }> {
  const { writer, emit, action } = options;
  const digest = new VolumeDigest();
  let fail: (error: unknown) => void = () => {};
  const failed = new Promise<never>((_, reject) => {
    fail = reject;
  });
  failed.catch(() => {});
  const index = new VolumeIndex({
    volume: volume.name,
    writer,
    pathHash,
    onMember: (m) => digest.add(m),
    onFailure: fail,
  });
  emit({
    event: 'volume-start',
    volume: volume.name,
    action,
    entries: volume.entries,
    bytes: volume.tarBytes,
  });
  const store = async (unit: Unit) => ({ unit, handles: await storeMissing(unit.missing, options) });
  for await (const { unit, handles } of readAhead(units(options), 3, store)) {
    for (const line of unit.lines) {
      if ('missing' in line) index.lines.frame(handles[line.missing] as FrameHandle);
      else if ('known' in line) index.lines.frame(line.known);
      else index.lines.member({ member: line, ready: true });
    }
    await index.lines.flush();
    emit({
      event: 'progress',
      volume: volume.name,
      action,
      done: index.lines.tarBytes,
      total: volume.tarBytes,
    });
  }
  const refs = await Promise.race([index.finish(), failed]);
  if (digest.digest() !== volume.digest) {
    throw new VolbakError('INTEGRITY', `the index of volume ${volume.name} is not what its manifest says`, {
      hint: 'Run `volbak verify` on the source.',
    });
  }
  emit({ event: 'volume-done', volume: volume.name, action, bytes: volume.tarBytes });
  return { index: refs, segments: index.segments(refs) };
}

async function* units({ lines, known }: TransferOptions): AsyncGenerator<Unit> {
  let unit: Unit = { lines: [], missing: [], raw: 0 };
  for await (const line of lines) {
    if (line.kind === 'member') unit.lines.push(line.member);
    else if (line.kind === 'frame') addFrame(unit, line.frame, known(line.frame));
    if (unit.raw >= UNIT_RAW || unit.lines.length >= UNIT_LINES) {
      yield unit;
      unit = { lines: [], missing: [], raw: 0 };
    }
  }
  yield unit;
}

function addFrame(unit: Unit, ref: FrameRef, known: FrameHandle | undefined): void {
  if (known !== undefined) {
    unit.lines.push({ known });
    return;
  }
  unit.lines.push({ missing: unit.missing.length });
  unit.missing.push(ref);
  unit.raw += ref[3];
}

async function storeMissing(
  missing: readonly FrameRef[],
  { fetch, writer }: TransferOptions,
): Promise<FrameHandle[]> {
  const handles: FrameHandle[] = [];
  for await (const { bytes, lengths } of fetch(missing)) {
    const frames = new Uint32Array(lengths.length * 2);
    let at = 0;
    lengths.forEach((raw, i) => {
      frames.set([at, raw], i * 2);
      at += raw;
    });
    handles.push(...(await writer.write({ bytes, frames })));
  }
  return handles;
}

/** Fetches frames in order, neighbours together. Raises INTEGRITY. */
export async function* fetchInOrder(
  refs: readonly FrameRef[],
  options: FetchOptions,
): AsyncGenerator<RawFrames> {
  for await (const group of groupFrames(refs)) {
    yield { bytes: await fetchGroup(group, options), lengths: group.frames.map(([, , , raw]) => raw) };
  }
}
