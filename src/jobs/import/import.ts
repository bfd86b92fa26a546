import { decompress } from '../../codec/decompress.ts';
import { type ByteString, printable } from '../../core/bytes.ts';
import { VolbakError } from '../../core/errors.ts';
import { Journal } from '../../core/journal.ts';
import { mountEach } from '../../engine/attachment.ts';
import { MADE_VOLUMES_JOURNAL, MadeVolumes } from '../../engine/made-volumes.ts';
import type { ResolvedSource } from '../../engine/source.ts';
import { TarError } from '../../tar/header.ts';
import { isWithin, stripComponents } from '../../tar/names.ts';
import type { MemberMap } from '../../tar/rewrite.ts';
import { rewriteTar } from '../../tar/rewrite-stream.ts';
import type { EngineContext } from '../engine-context.ts';
import type { JobEnvironment } from '../environment.ts';
import { counted } from '../progress.ts';
import { extractInto } from '../write/extract.ts';
import { assertKeepName } from '../write/keep-old.ts';
import { assertNothingNested } from '../write/nested.ts';
import { inspectSettled } from '../write/settle.ts';
import { STAGES_JOURNAL } from '../write/stage.ts';
import { STAGE_NAME } from '../write/stage-script.ts';
import { assertWritable, type OnConflict, writeVolumes } from '../write/write-volumes.ts';

export interface ImportOptions {
  /** Into this volume, made where it does not exist; or … */
  toVolume?: string;
  /** … into a container's volumes: by mount path, or all into its only one with `strip`. */
  into?: ResolvedSource;
  strip: number;
  onConflict: OnConflict;
  /** Keep what a replacement takes away, in this directory of the volume. */
  keepOld?: string;
  /** Bytes of the archive file, to tell progress by. */
  size?: number;
}

export interface ImportResult {
  volumes: { name: string; entries: number; keptOld?: string }[];
  /** Members that belong into no volume. */
  ignored: number;
  warnings: string[];
}

/** Where one volume's members come from: a path in the archive that its content is below. */
interface Place {
  volume: string;
  prefixes: ByteString[];
  entries: number;
}

/** Extracts a foreign tar, plain or compressed, into volumes. Whatever fails, what was there is as it was. */
export async function importArchive(
  env: JobEnvironment,
  ctx: EngineContext,
  archive: AsyncIterable<Uint8Array>,
  options: ImportOptions,
): Promise<ImportResult> {
  assertKeepName(options.keepOld, options.onConflict);
  const places = planPlaces(options);
  const made = new MadeVolumes(ctx.engine, new Journal(`${env.stateDirectory}/${MADE_VOLUMES_JOURNAL}`));
  try {
    if (options.toVolume !== undefined) {
      const spec = { name: options.toVolume, driver: 'local', driverOpts: {}, labels: {} };
      await made.ensure(spec);
    }
    const result = await importInto(env, ctx, archive, places, made, options);
    await made.keep();
    return result;
  } catch (error) {
    await made.discard();
    if (error instanceof TarError && error.offset === 0) {
      throw new VolbakError('INTEGRITY', 'this is no tar archive, or an empty file', {
        cause: error,
        hint: 'Nothing was changed. It may be plain or compressed (gz, zst, bz2, xz): `tar -tf` lists a good one.',
      });
    }
    if (error instanceof TarError) {
      throw new VolbakError('INTEGRITY', `the archive is damaged: ${error.message}`, {
        cause: error,
        hint: 'Nothing was changed. Make the archive anew.',
      });
    }
    throw error;
  }
}

function planPlaces({ toVolume, into, strip }: ImportOptions): Place[] {
  if (toVolume !== undefined) return [{ volume: toVolume, prefixes: ['.'], entries: 0 }];
  const volumes = into?.volumes.filter((volume) => volume.bind === undefined) ?? [];
  if (!into || volumes.length === 0) {
    throw new VolbakError('NOT_FOUND_IN_ENGINE', `container ${into?.name} has no volumes to import into`);
  }
  if (strip === 0) {
    return volumes.map(({ name, destinations }) => ({
      volume: name,
      prefixes: destinations.map((d) => `.${d}`),
      entries: 0,
    }));
  }
  const [only, ...others] = volumes;
  if (others.length > 0 || !only) {
    throw new VolbakError(
      'USAGE',
      `container ${into.name} has ${volumes.length} volumes: with --strip-components it is not clear which is meant`,
      {
        hint: `Name it: --to-volume ${only?.name}. Without --strip-components members go by mount path.`,
      },
    );
  }
  return [{ volume: only.name, prefixes: ['.'], entries: 0 }];
}

async function importInto(
  env: JobEnvironment,
  ctx: EngineContext,
  archive: AsyncIterable<Uint8Array>,
  places: Place[],
  made: MadeVolumes,
  options: ImportOptions,
): Promise<ImportResult> {
  const attachment = mountEach(
    places.map(({ volume }) => ({ name: volume })),
    false,
  );
  const states = await inspectSettled(ctx, attachment, env.emit);
  for (const [name, state] of states) {
    assertWritable(name, state, options.onConflict);
    if (options.onConflict === 'replace') await assertNothingNested(ctx.engine, name);
  }
  const label = places.map(({ volume }) => volume).join(', ');
  const total = options.size === undefined ? {} : { bytes: options.size };
  env.emit({ event: 'volume-start', volume: label, action: 'import', ...total });
  let read = 0;
  const tell = (done: number) => {
    read = done;
    env.emit({
      event: 'progress',
      volume: label,
      action: 'import',
      done,
      ...(options.size === undefined ? {} : { total: options.size }),
    });
  };
  const result: ImportResult = { volumes: [], ignored: 0, warnings: [] };
  const { result: warnings, differing } = await writeVolumes(
    {
      ctx,
      attachment,
      states,
      made,
      onConflict: options.onConflict,
      ...(options.keepOld === undefined ? {} : { keepOld: options.keepOld }),
      stages: new Journal(`${env.stateDirectory}/${STAGES_JOURNAL}`),
    },
    (bases) => {
      const tar = rewriteTar(
        decompress(counted(archive, tell)),
        router(places, bases, options.strip, result),
      );
      return extractInto(ctx, attachment, '/', notEmpty(tar, places), {}, attachment.paths.values());
    },
  );
  const more = differing.map((name) => `the root of volume ${name} has other attributes than in the archive`);
  result.warnings = [...warnings, ...more];
  result.volumes = places.map(({ volume, entries }) => {
    const kept = options.keepOld !== undefined && states.get(volume)?.entries.length !== 0;
    return { name: volume, entries, ...(kept ? { keptOld: options.keepOld as string } : {}) };
  });
  if (result.ignored > 0)
    env.emit({
      event: 'warning',
      message: `${result.ignored} members of the archive belong into none of the volumes`,
    });
  for (const message of result.warnings) env.emit({ event: 'warning', message });
  env.emit({ event: 'volume-done', volume: label, action: 'import', bytes: read });
  return result;
}

/** An archive of which nothing belongs into the volumes is a mistake, not a success. */
async function* notEmpty(tar: AsyncIterable<Buffer>, places: readonly Place[]): AsyncGenerator<Buffer> {
  yield* tar;
  if (places.some(({ entries }) => entries > 0)) return;
  throw new VolbakError('USAGE', 'the archive holds nothing that belongs into the volumes', {
    hint: 'Look into it with `tar -tf`: fewer --strip-components, or --to-volume instead of --into.',
  });
}

/** Gives each member its place below the directories in which the volumes lie in the helper. */
function router(
  places: Place[],
  bases: ReadonlyMap<string, string>,
  strip: number,
  result: ImportResult,
): MemberMap {
  const placeOf = (path: ByteString): { name: ByteString; place: Place } | undefined => {
    const stripped = stripComponents(path, strip);
    if (stripped === undefined) return undefined;
    let best: { place: Place; prefix: ByteString } | undefined;
    for (const place of places) {
      for (const prefix of place.prefixes) {
        if (isWithin(stripped, prefix) && prefix.length > (best?.prefix.length ?? 0))
          best = { place, prefix };
      }
    }
    if (!best) return undefined;
    const rest = best.prefix === '.' ? stripped.slice(1) : stripped.slice(best.prefix.length);
    return { name: `.${bases.get(best.place.volume)}${rest}`, place: best.place };
  };
  return ({ path, type, link }) => {
    if (path.split('/').includes('..')) {
      throw new VolbakError(
        'INTEGRITY',
        `the archive holds a name that leads out of it: ${printable(path)}`,
        {
          hint: 'Nothing was changed. Do not trust this archive.',
        },
      );
    }
    const found = placeOf(path);
    if (!found) {
      if (type !== 'dir') result.ignored++;
      return undefined;
    }
    const root = bases.get(found.place.volume) as string;
    if (STAGE_NAME.test(found.name.slice(root.length + 2).split('/')[0] ?? '')) {
      throw new VolbakError('INTEGRITY', `the archive holds a journal of volbak's own: ${printable(path)}`, {
        hint: 'Nothing was changed. Leave it out, or do not trust this archive.',
      });
    }
    found.place.entries++;
    if (type !== 'hardlink' || link === undefined) return { name: found.name };
    const target = placeOf(link);
    if (!target) {
      throw new VolbakError(
        'USAGE',
        `the archive's ${printable(path)} is a link to ${printable(link)}, which is not imported`,
      );
    }
    return { name: found.name, link: target.name };
  };
}
