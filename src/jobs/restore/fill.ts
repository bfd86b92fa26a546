import { VolbakError } from '../../core/errors.ts';
import { Journal } from '../../core/journal.ts';
import type { Attachment } from '../../engine/attachment.ts';
import type { MadeVolumes } from '../../engine/made-volumes.ts';
import type { FetchOptions } from '../../repository/fetch.ts';
import type { ManifestVolume } from '../../repository/manifest.ts';
import { counted } from '../progress.ts';
import { digestVolume } from '../read/digest.ts';
import { extractInto } from '../write/extract.ts';
import type { TargetState } from '../write/inspect.ts';
import { STAGES_JOURNAL, type StageNote } from '../write/stage.ts';
import { assertSpace, assertWritable, writeVolumes } from '../write/write-volumes.ts';
import { isWhole, volumeTar } from './content.ts';
import type { RestoreDeps, RestoredVolume, RestoreOptions } from './restore.ts';
import type { RestoreTarget } from './targets.ts';

export interface FillOptions extends RestoreDeps {
  targets: RestoreTarget[];
  /** What lies in the targets, all of which are attached. */
  states: ReadonlyMap<string, TargetState>;
  attachment: Attachment;
  made: MadeVolumes;
  options: RestoreOptions;
  fetch: FetchOptions;
}

/** Extracts all volumes before the first old content is replaced: damage found in the last one changes nothing. */
export async function fillAll(fill: FillOptions): Promise<RestoredVolume[]> {
  const { ctx, env, targets, states, attachment, made, options } = fill;
  for (const { source, spec } of targets) {
    const state = states.get(spec.name) as TargetState;
    assertWritable(spec.name, state, options.onConflict);
    if (isWhole(options.selection)) assertSpace(spec.name, state, source.tarBytes, source.entries);
  }
  const digests = new Map<string, string>();
  const check = async (bases: ReadonlyMap<string, string>) => {
    for (const { source, spec } of targets) {
      if (!mustProve(spec.name, states, options)) continue;
      const path = bases.get(spec.name) as string;
      digests.set(spec.name, await proveVolume(fill, path, source, spec.name));
    }
  };
  const write = {
    ctx,
    attachment,
    states,
    made,
    onConflict: options.onConflict,
    stages: new Journal<StageNote>(`${env.stateDirectory}/${STAGES_JOURNAL}`),
    check,
    ...(options.keepOld === undefined ? {} : { keepOld: options.keepOld }),
  };
  const { result, differing } = await writeVolumes(write, async (bases) => {
    const done: RestoredVolume[] = [];
    for (const target of targets)
      done.push(await fillVolume(fill, target, bases.get(target.spec.name) as string));
    return done;
  });
  return result.map((volume) => {
    const digest = digests.get(volume.name);
    const kept = options.keepOld !== undefined && states.get(volume.name)?.entries.length !== 0;
    if (differing.includes(volume.name)) {
      const message = "its root's own attributes are not as in the snapshot";
      env.emit({ event: 'warning', volume: volume.name, message });
      volume.warnings.push(message);
    }
    return {
      ...volume,
      ...(digest === undefined ? {} : { digest }),
      ...(kept ? { keptOld: options.keepOld as string } : {}),
    };
  });
}

/** Old content never gives way to what was not proven; what goes into an empty volume is proven on request. */
function mustProve(
  volume: string,
  states: ReadonlyMap<string, TargetState>,
  options: RestoreOptions,
): boolean {
  if (!isWhole(options.selection)) return false;
  return options.verify || states.get(volume)?.entries.length !== 0;
}

async function fillVolume(
  { ctx, env, attachment, options, fetch }: FillOptions,
  { source, spec }: RestoreTarget,
  path: string,
): Promise<RestoredVolume> {
  env.emit({
    event: 'volume-start',
    volume: spec.name,
    action: 'restore',
    entries: source.entries,
    bytes: source.tarBytes,
  });
  let bytes = 0;
  const whole = isWhole(options.selection);
  // The pipe lane writes a piece whole before it takes the next one.
  const passing = whole && ctx.lane === 'pipe';
  const tar = counted(volumeTar(source, options.selection, { ...fetch, passing }), (done) => {
    bytes = done;
    const total = whole ? { total: source.tarBytes } : {};
    env.emit({ event: 'progress', volume: spec.name, action: 'restore', done, ...total });
  });
  const warnings = await extractInto(ctx, attachment, path, whole ? ofLength(tar, source) : tar, {
    ordered: whole,
  });
  for (const message of warnings) env.emit({ event: 'warning', volume: spec.name, message });
  env.emit({ event: 'volume-done', volume: spec.name, action: 'restore', bytes });
  return { name: spec.name, from: source.name, entries: source.entries, bytes, warnings };
}

/** A tar that is not as long as the manifest says is refused before its end is given out. */
async function* ofLength(tar: AsyncIterable<Uint8Array>, source: ManifestVolume): AsyncGenerator<Uint8Array> {
  let length = 0;
  for await (const bytes of tar) {
    length += bytes.length;
    if (length > source.tarBytes) break;
    yield bytes;
  }
  if (length === source.tarBytes) return;
  throw new VolbakError('INTEGRITY', `the tar of volume ${source.name} is not as long as its manifest says`, {
    hint: 'Run `volbak verify`.',
  });
}

/** Reads a written volume again through the front half of a backup. Raises INTEGRITY where it differs. */
async function proveVolume(
  { ctx, attachment }: FillOptions,
  path: string,
  source: ManifestVolume,
  name: string,
): Promise<string> {
  const { digest } = await digestVolume(ctx, attachment, path);
  if (digest === source.digest) return digest;
  throw new VolbakError('INTEGRITY', `volume ${name} does not hold what snapshot volume ${source.name} did`, {
    hint: 'Is something else writing into it? Try --stop.',
  });
}
