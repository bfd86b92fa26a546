import { type ByteString, fromText, printable } from '../../core/bytes.ts';
import { VolbakError } from '../../core/errors.ts';
import type { FetchOptions } from '../../repository/fetch.ts';
import { readIndex, readMembers, readTar } from '../../repository/index-reader.ts';
import type { ManifestVolume } from '../../repository/manifest.ts';
import { fetchPieces, selectPieces } from '../../repository/pieces.ts';
import { isWithin, normalisePath, stripComponents } from '../../tar/names.ts';
import type { MemberMap } from '../../tar/rewrite.ts';
import { rewriteTar } from '../../tar/rewrite-stream.ts';
import type { TarMember } from '../../tar/scanner.ts';

/** Which members of a volume, and under which names. */
export interface Selection {
  /** Only these paths and what is below them; empty: all. Relative to the volume's root. */
  paths: readonly string[];
  /** Leading components to take off, counted after "./". */
  strip: number;
}

export const WHOLE: Selection = { paths: [], strip: 0 };

/** True where a selection is the volume as it is. */
export function isWhole({ paths, strip }: Selection): boolean {
  return paths.length === 0 && strip === 0;
}

/** What a selection makes of the names of one volume. */
interface NamePlan {
  nameOf(path: ByteString): ByteString | undefined;
  /** Files left out of which a selected hard link needs the content: target to the link that gets it. */
  borrowed: Map<ByteString, ByteString>;
  /** Members that were asked for. */
  count: number;
}

interface Names {
  /** True for what the user asked for. */
  isWanted(path: ByteString): boolean;
  nameOf: NamePlan['nameOf'];
}

function namesOf({ paths, strip }: Selection): Names {
  const wanted = paths.map((path) => normalisePath(fromText(path.replace(/^\/+/, '') || '.')));
  const isWanted = (path: ByteString) => wanted.length === 0 || wanted.some((w) => isWithin(path, w));
  // Directories above a wanted path come along, with their owners and modes.
  const isAbove = (path: ByteString) => strip === 0 && wanted.some((w) => isWithin(w, path));
  return {
    isWanted,
    nameOf: (path) => (isWanted(path) || isAbove(path) ? stripComponents(path, strip) : undefined),
  };
}

/** Goes through the index once: hard links in the selection bring the content of names outside it along. */
async function planNames(
  volume: ManifestVolume,
  selection: Selection,
  fetch: FetchOptions,
): Promise<NamePlan> {
  const { isWanted, nameOf } = namesOf(selection);
  const borrowed = new Map<ByteString, ByteString>();
  let count = 0;
  for await (const { path, type, link } of readMembers(volume.index, fetch)) {
    if (nameOf(path) === undefined) continue;
    if (isWanted(path)) count++;
    const needsContent = type === 'hardlink' && link !== undefined && nameOf(link) === undefined;
    if (needsContent && !borrowed.has(link)) borrowed.set(link, path);
  }
  return { nameOf, borrowed, count };
}

/** Whether a volume holds anything of what was asked for. */
export async function holdsSelection(
  volume: ManifestVolume,
  selection: Selection,
  fetch: FetchOptions,
): Promise<boolean> {
  const { isWanted, nameOf } = namesOf(selection);
  for await (const { path } of readMembers(volume.index, fetch)) {
    if (isWanted(path) && nameOf(path) !== undefined) return true;
  }
  return false;
}

/** The member map of a plan. A hard link whose content was borrowed comes as that file, at the target's place. */
function memberMap({ nameOf, borrowed }: NamePlan): MemberMap {
  return (member: TarMember) => {
    const heir = borrowed.get(member.path);
    if (heir !== undefined) return { name: nameOf(heir) as ByteString };
    const name = nameOf(member.path);
    if (name === undefined || member.link === undefined || member.type !== 'hardlink') {
      return name === undefined ? undefined : { name };
    }
    const borrower = borrowed.get(member.link);
    if (borrower === member.path) return undefined;
    return { name, link: nameOf(borrower ?? member.link) as ByteString };
  };
}

/**
 * The tar of a selection of a volume; only frames that it needs are fetched.
 * Raises SNAPSHOT_NOT_FOUND where nothing matches, INTEGRITY where stored bytes are damaged.
 */
export async function* volumeTar(
  volume: ManifestVolume,
  selection: Selection,
  fetch: FetchOptions,
): AsyncGenerator<Uint8Array> {
  if (isWhole(selection)) {
    yield* readTar(volume.index, fetch);
    return;
  }
  const plan = await planNames(volume, selection, fetch);
  if (plan.count === 0) {
    const what =
      selection.paths.length > 0
        ? `no path ${selection.paths.map(printable).join(', ')}`
        : 'no path that deep';
    throw new VolbakError('SNAPSHOT_NOT_FOUND', `volume ${volume.name} holds ${what}`, {
      hint: '`volbak ls <snapshot>` lists what it holds.',
    });
  }
  const selected = selectPieces(
    readIndex(volume.index, fetch),
    (member) => plan.nameOf(member.path) !== undefined || plan.borrowed.has(member.path),
  );
  yield* rewriteTar(withEndMark(fetchPieces(selected, fetch)), memberMap(plan));
}

/** Pieces end with the last selected member: the end mark is added for the scanner. */
async function* withEndMark(tar: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  yield* tar;
  yield Buffer.alloc(1024);
}
