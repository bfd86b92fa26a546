import { messageOf } from '../../core/errors.ts';
import type { EventSink } from '../../core/events.ts';
import type { FetchOptions } from '../../repository/fetch.ts';
import type { FrameRef } from '../../repository/frame-ref.ts';
import type { FrameWriter } from '../../repository/frame-writer.ts';
import { readFrameRefs } from '../../repository/index-reader.ts';
import type { SnapshotName } from '../../repository/keys.ts';
import type { Manifest } from '../../repository/manifest.ts';
import { formatSource } from '../../repository/references.ts';

/** Manifests looked at, newest first, before a volume counts as new. */
const MAX_LOOKED_AT = 256;

/** Snapshots whose frames a backup can use: for each volume the newest that holds it. */
export interface Parents {
  /** By volume name. */
  byVolume: Map<string, Manifest>;
  names: SnapshotName[];
  /** The newest snapshots of other sources, newest first: what they hold is found, too, where much has to be read. */
  others: SnapshotName[];
}

/** Other sources whose frames are looked through. */
const MAX_OTHERS = 16;

/**
 * Finds for each volume the newest snapshot of this engine that holds it, under whatever source: two containers that
 * share a volume continue one another. The newest snapshot of the same source counts too.
 */
export async function findParents(
  manifestOf: (name: SnapshotName) => Promise<Manifest | undefined>,
  snapshots: readonly SnapshotName[],
  wanted: { engineId: string; source: SnapshotName['source']; volumes: readonly string[] },
  emit: EventSink,
): Promise<Parents> {
  const own = formatSource(wanted.source);
  const parents: Parents = { byVolume: new Map(), names: [], others: [] };
  for (const name of [...snapshots].reverse().slice(0, MAX_LOOKED_AT)) {
    if (parents.byVolume.size === wanted.volumes.length) break;
    let manifest: Manifest | undefined;
    try {
      manifest = await manifestOf(name);
    } catch (error) {
      emit({ event: 'warning', message: `snapshot ${name.id} is not used as a parent: ${messageOf(error)}` });
      continue;
    }
    if (!manifest) continue;
    if (manifest.engine.id !== wanted.engineId && formatSource(name.source) !== own) continue;
    const held = manifest.volumes.filter(
      (volume) => wanted.volumes.includes(volume.name) && !parents.byVolume.has(volume.name),
    );
    for (const volume of held) parents.byVolume.set(volume.name, manifest);
    if (held.length > 0) parents.names.push(name);
  }
  parents.others = newestOfOthers(snapshots, parents.names, own);
  return parents;
}

function newestOfOthers(
  snapshots: readonly SnapshotName[],
  parents: readonly SnapshotName[],
  own: string,
): SnapshotName[] {
  const seen = new Set([own, ...parents.map(({ source }) => formatSource(source))]);
  const others: SnapshotName[] = [];
  for (let i = snapshots.length - 1; i >= 0 && others.length < MAX_OTHERS; i--) {
    const name = snapshots[i] as SnapshotName;
    const source = formatSource(name.source);
    if (seen.has(source)) continue;
    seen.add(source);
    others.push(name);
  }
  return others;
}

/**
 * Makes the frames of a parent's volume known. A parent that cannot be read costs storage, not the backup.
 * Frames in segments that the store does not have count as unknown.
 */
export async function loadParentFrames(
  manifest: Manifest,
  volumeName: string,
  present: ReadonlySet<string>,
  writer: FrameWriter,
  fetch: FetchOptions,
  emit: EventSink,
): Promise<void> {
  const volume = manifest.volumes.find(({ name }) => name === volumeName);
  if (!volume) return;
  const known = (ref: FrameRef) => {
    if (present.has(ref[0])) writer.addKnown(ref);
  };
  try {
    for (const ref of volume.index) known(ref);
    for await (const ref of readFrameRefs(volume.index, fetch)) known(ref);
  } catch (error) {
    fetch.signal?.throwIfAborted();
    emit({
      event: 'warning',
      volume: volumeName,
      message: `snapshot ${manifest.id} cannot be read, so all is stored anew: ${messageOf(error)}`,
    });
  }
}
