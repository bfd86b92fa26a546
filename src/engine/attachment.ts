import type { HelperMount } from './helper.ts';
import type { ResolvedSource, SourceVolume } from './source.ts';

/** How a source's volumes reach a helper, and where each lies in it. */
export interface Attachment {
  /** Container whose mounts the helper takes over read-only. */
  volumesFrom?: string;
  mounts: HelperMount[];
  /** Directory of each volume in the helper, by the volume's name. */
  paths: Map<string, string>;
}

/**
 * Directories that a helper needs: a mount over or below one of them could hide its tools, or make it run the
 * application's own `tar` with the helper's capabilities.
 */
const RESERVED = new Set([
  'bin',
  'sbin',
  'lib',
  'lib32',
  'lib64',
  'libx32',
  'usr',
  'etc',
  'proc',
  'sys',
  'dev',
  'tmp',
  'run',
  'volbak',
]);

const ROOT = '/volbak/volumes';

/** Where a helper finds its lane; see lanes/pipe.ts. */
export const LANE_DIRECTORY = '/volbak/lane';

function isReserved(destination: string): boolean {
  return RESERVED.has(destination.split('/')[1] ?? '');
}

function isNested(volumes: readonly SourceVolume[], otherMounts: readonly string[]): boolean {
  const all = [...volumes.flatMap((volume) => volume.destinations), ...otherMounts];
  return all.some((a) => all.some((b) => a !== b && b.startsWith(a.endsWith('/') ? a : `${a}/`)));
}

/**
 * Plans how to attach `volumes` of a source read-only: with `--volumes-from` where that is safe and shows each
 * volume whole, else each by itself under a path of our own. By itself means: where a mount covers a path that the
 * helper needs, lies inside another, is a bind mount, or shows only a part of its volume.
 */
export function planAttachment(source: ResolvedSource, volumes: readonly SourceVolume[]): Attachment {
  const others = [...source.leftOut.map((mount) => mount.destination), ...(source.unchosen ?? [])];
  const everywhere = [...source.volumes.flatMap((volume) => volume.destinations), ...others];
  const byItself =
    source.container === undefined ||
    everywhere.some(isReserved) ||
    isNested(source.volumes, others) ||
    source.volumes.some((volume) => volume.bind !== undefined || volume.subpath !== undefined);
  if (byItself) return mountEach(volumes, true);
  return {
    volumesFrom: source.container?.id as string,
    mounts: [],
    paths: new Map(volumes.map((volume) => [volume.name, volume.destinations[0] as string])),
  };
}

/** Mounts volumes one by one under paths that no image has, so nothing is hidden and nothing is filled. */
export function mountEach(
  volumes: readonly Pick<SourceVolume, 'name' | 'bind'>[],
  readOnly: boolean,
): Attachment {
  const paths = new Map<string, string>();
  const mounts = volumes.map((volume, i): HelperMount => {
    const target = `${ROOT}/${i}`;
    paths.set(volume.name, target);
    return volume.bind === undefined
      ? { type: 'volume', source: volume.name, target, readOnly }
      : { type: 'bind', source: volume.bind, target, readOnly };
  });
  return { mounts, paths };
}
