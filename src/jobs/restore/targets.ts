import { VolbakError } from '../../core/errors.ts';
import { MADE_LABEL } from '../../engine/labels.ts';
import { canNameVolume, type ResolvedSource } from '../../engine/source.ts';
import type { VolumeSpec } from '../../engine/volumes.ts';
import type { Manifest, ManifestVolume } from '../../repository/manifest.ts';

/** Where the volumes of a snapshot shall go. */
export interface TargetOptions {
  /** Only these volumes of the snapshot, by name or mount path; empty: all. */
  volumes: readonly string[];
  /** One volume into this one. */
  toVolume?: string;
  rename: ReadonlyMap<string, string>;
  /** Into this container's volumes, matched by mount path. */
  into?: ResolvedSource;
  driver?: string;
  driverOpts: Record<string, string>;
}

export interface RestoreTarget {
  source: ManifestVolume;
  /** The volume to write into; made where it does not exist. */
  spec: VolumeSpec;
}

/** Volumes of a snapshot that were asked for, by name or mount path. Raises SNAPSHOT_NOT_FOUND. */
export function chooseVolumes(manifest: Manifest, wanted: readonly string[]): ManifestVolume[] {
  if (wanted.length === 0) return manifest.volumes;
  return wanted.map((text) => {
    const found = manifest.volumes.find((v) => v.name === text || v.destinations.includes(text));
    if (found) return found;
    throw new VolbakError('SNAPSHOT_NOT_FOUND', `snapshot ${manifest.id} holds no volume '${text}'`, {
      hint: `It holds ${manifest.volumes.map((v) => v.name).join(', ') || 'none'}.`,
    });
  });
}

/** Decides which volume each of a snapshot's goes into. Raises USAGE or NOT_FOUND_IN_ENGINE. */
export function planTargets(manifest: Manifest, options: TargetOptions): RestoreTarget[] {
  const chosen = chooseVolumes(manifest, options.volumes);
  for (const name of options.rename.keys()) {
    if (!chosen.some((v) => v.name === name)) {
      throw new VolbakError('USAGE', `--rename names volume '${name}', which is not being restored`, {
        hint: `Being restored: ${chosen.map((v) => v.name).join(', ')}.`,
      });
    }
  }
  if (options.toVolume !== undefined && chosen.length !== 1) {
    throw new VolbakError(
      'USAGE',
      `--to-volume takes one volume, but snapshot ${manifest.id} holds ${chosen.length}`,
      {
        hint: `Choose with --volume: ${chosen.map((v) => v.name).join(', ')}.`,
      },
    );
  }
  const targets = chosen.map((source) => ({ source, spec: specOf(manifest, source, chosen, options) }));
  const names = targets.map((target) => target.spec.name);
  const odd = names.find((name) => !canNameVolume(name));
  if (odd !== undefined)
    throw new VolbakError('USAGE', `'${odd}' can be no name of a volume`, {
      hint: 'Give it another one: --to-volume or --rename.',
    });
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined) throw new VolbakError('USAGE', `two volumes would be restored into '${twice}'`);
  return targets;
}

function specOf(
  manifest: Manifest,
  source: ManifestVolume,
  chosen: readonly ManifestVolume[],
  options: TargetOptions,
): VolumeSpec {
  const name = options.into
    ? matchByMount(source, chosen, options.into)
    : (options.toVolume ?? options.rename.get(source.name) ?? readableName(manifest, source));
  // A bind mount was a directory of its host: it comes back as an ordinary volume.
  const driver = options.driver ?? (source.bind ? 'local' : source.driver);
  const own = options.driver === undefined || options.driver === source.driver ? source.driverOpts : {};
  const labels = Object.entries(source.labels).filter(
    ([key]) => key !== 'com.docker.volume.anonymous' && key !== MADE_LABEL,
  );
  const driverOpts = { ...own, ...givenOptions(source, chosen, options) };
  return { name, driver, driverOpts, labels: Object.fromEntries(labels) };
}

/** An option that some of the volumes had is for those alone; any other is for all. */
function givenOptions(
  source: ManifestVolume,
  chosen: readonly ManifestVolume[],
  { driver, driverOpts }: TargetOptions,
): Record<string, string> {
  const isForAll = (key: string) => driver !== undefined || !chosen.some((v) => key in v.driverOpts);
  const given = Object.entries(driverOpts).filter(([key]) => isForAll(key) || key in source.driverOpts);
  return Object.fromEntries(given);
}

function matchByMount(
  source: ManifestVolume,
  chosen: readonly ManifestVolume[],
  into: ResolvedSource,
): string {
  const match = into.volumes.find((v) => v.destinations.some((d) => source.destinations.includes(d)));
  if (match) return match.name;
  // A volume that was backed up by itself knows no mount path: one into one is clear.
  const [only] = into.volumes;
  if (only && into.volumes.length === 1 && chosen.length === 1 && source.destinations.length === 0)
    return only.name;
  throw new VolbakError(
    'NOT_FOUND_IN_ENGINE',
    `container ${into.name} mounts no volume at ${source.destinations.join(' or ') || 'a place that fits'}, where ${source.name} was`,
    {
      hint: `It mounts ${into.volumes.map((v) => `${v.name} at ${v.destinations.join(', ')}`).join('; ') || 'none'}.`,
    },
  );
}

/** Anonymous volumes come back under a name that says what they are. */
function readableName(manifest: Manifest, source: ManifestVolume): string {
  if (!source.anonymous && !source.bind) return source.name;
  const place = (source.destinations[0] ?? source.name.slice(0, 12))
    .replace(/[^a-zA-Z0-9_.-]+/g, '_')
    .replace(/^_+/, '');
  return `${manifest.source.name}_${place}`;
}
