import { VolbakError } from '../../core/errors.ts';
import type { ResolvedSource, SourceVolume } from '../../engine/source.ts';

/** Keeps only the volumes that --only names, by name or mount path. Raises NOT_FOUND_IN_ENGINE for an unknown one. */
export function selectVolumes(source: ResolvedSource, only: readonly string[]): ResolvedSource {
  if (only.length === 0) return source;
  const matches = (volume: SourceVolume, text: string) =>
    volume.name === text || volume.destinations.includes(text.length > 1 ? text.replace(/\/$/, '') : text);
  for (const text of only) {
    if (source.volumes.some((volume) => matches(volume, text))) continue;
    throw new VolbakError('NOT_FOUND_IN_ENGINE', `${source.name} has no volume '${text}'`, {
      hint: `It has ${source.volumes.map((v) => `${v.name} (${v.destinations.join(', ')})`).join('; ') || 'none'}.`,
    });
  }
  const chosen = (volume: SourceVolume) => only.some((text) => matches(volume, text));
  return {
    ...source,
    volumes: source.volumes.filter(chosen),
    unchosen: source.volumes.filter((volume) => !chosen(volume)).flatMap((volume) => volume.destinations),
  };
}
