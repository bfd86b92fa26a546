import { createFramePool } from '../../codec/pool.ts';
import { VolbakError } from '../../core/errors.ts';
import { Journal } from '../../core/journal.ts';
import { type Attachment, mountEach } from '../../engine/attachment.ts';
import { MADE_VOLUMES_JOURNAL, MadeVolumes } from '../../engine/made-volumes.ts';
import { QUIESCE_JOURNAL, type QuiesceNote, quiesce } from '../../engine/quiesce.ts';
import { containersUsing, findVolume } from '../../engine/source.ts';
import type { FetchOptions } from '../../repository/fetch.ts';
import type { SnapshotName } from '../../repository/keys.ts';
import type { Manifest, ManifestVolume } from '../../repository/manifest.ts';
import type { Repository } from '../../repository/repository.ts';
import { Session } from '../../repository/session.ts';
import type { EngineContext } from '../engine-context.ts';
import type { JobEnvironment } from '../environment.ts';
import { counted } from '../progress.ts';
import { digestVolume } from '../read/digest.ts';
import { extractInto } from '../write/extract.ts';
import { inspectTargets, type TargetState } from '../write/inspect.ts';
import { assertSpace, assertWritable, type OnConflict, writeVolumes } from '../write/write-volumes.ts';
import { holdsSelection, isWhole, type Selection, volumeTar } from './content.ts';
import { holdsOnlyImageFiles } from './image-content.ts';
import { planTargets, type RestoreTarget, type TargetOptions } from './targets.ts';

export interface RestoreOptions extends TargetOptions {
  selection: Selection;
  onConflict: OnConflict;
  /** Stop the containers that use the target volumes meanwhile. */
  stop: boolean;
  /** Read everything again and compare digests. */
  verify: boolean;
}

export interface RestoredVolume {
  /** The volume that was written. */
  name: string;
  /** Its name in the snapshot. */
  from: string;
  entries: number;
  bytes: number;
  /** Set where --verify proved it. */
  digest?: string;
  warnings: string[];
}

/** What a restore would do, for --dry-run. */
export interface RestorePlan {
  manifest: Manifest;
  targets: RestoreTarget[];
}

export interface RestoreDeps {
  env: JobEnvironment;
  ctx: EngineContext;
  repository: Repository;
}

/** Finds out what goes where. Raises what makes it impossible, before anything was done. */
export async function planRestore(
  deps: RestoreDeps,
  name: SnapshotName,
  options: RestoreOptions,
): Promise<RestorePlan> {
  const manifest = await deps.repository.manifest(name);
  if (options.verify && (!isWhole(options.selection) || options.onConflict === 'overlay')) {
    throw new VolbakError(
      'USAGE',
      '--verify proves whole volumes: not with --path, --strip-components or --on-conflict overlay',
    );
  }
  return { manifest, targets: planTargets(manifest, options) };
}

/** Restores a snapshot's volumes. On failure no volume that this run made is left, and old content is as it was. */
export async function restore(
  deps: RestoreDeps,
  { manifest, targets }: RestorePlan,
  options: RestoreOptions,
): Promise<RestoredVolume[]> {
  const { env, repository } = deps;
  const pool = createFramePool();
  const session = await Session.begin({
    store: repository.store,
    kind: 'restore',
    uses: [{ id: manifest.id, source: manifest.source }],
    now: () => env.clock.now().getTime(),
  }).catch((error: unknown) => {
    // A read-only repository can be restored from; prune cannot run on it either.
    if (error instanceof VolbakError && error.code === 'STORE_DENIED') return undefined;
    throw error;
  });
  const fetch: FetchOptions = {
    store: repository.store,
    pool,
    signal: env.signal,
    ...(env.readAhead === undefined ? {} : { parallel: env.readAhead }),
  };
  try {
    return await restoreInto(deps, await concerned(targets, options.selection, fetch), options, fetch);
  } finally {
    await session?.end();
    await pool.close();
  }
}

/** Of several volumes those that hold a path that was asked for; where none does, the first one says so. */
async function concerned(
  targets: RestoreTarget[],
  selection: Selection,
  fetch: FetchOptions,
): Promise<RestoreTarget[]> {
  if (targets.length < 2 || selection.paths.length === 0) return targets;
  const holding: RestoreTarget[] = [];
  for (const target of targets)
    if (await holdsSelection(target.source, selection, fetch)) holding.push(target);
  return holding.length > 0 ? holding : targets.slice(0, 1);
}

async function restoreInto(
  deps: RestoreDeps,
  targets: RestoreTarget[],
  options: RestoreOptions,
  fetch: FetchOptions,
): Promise<RestoredVolume[]> {
  const { ctx, env } = deps;
  await inspectExisting(deps, targets, options);
  const made = new MadeVolumes(ctx.engine, new Journal(`${env.stateDirectory}/${MADE_VOLUMES_JOURNAL}`));
  const resume = await stopUsers(deps, targets, options);
  try {
    for (const { spec } of targets) {
      await made.ensure(spec);
      if (spec.driverOpts.type !== 'tmpfs') continue;
      const message = 'lives in memory: its content is gone as soon as no container uses it';
      env.emit({ event: 'warning', volume: spec.name, message });
    }
    const attachment = mountEach(
      targets.map(({ spec }) => ({ name: spec.name })),
      false,
    );
    const states = await inspectTargets(ctx, attachment);
    const restored = await fillAll(deps, targets, states, attachment, options, fetch);
    await made.keep();
    return restored;
  } catch (error) {
    const removed = await made.discard();
    if (removed.length > 0) env.emit({ event: 'info', message: `removed again: ${removed.join(', ')}` });
    throw error;
  } finally {
    await resume();
  }
}

/** Looks at all targets before the first is touched: a refusal leaves everything as it was. */
async function inspectExisting(
  { ctx }: RestoreDeps,
  targets: RestoreTarget[],
  options: RestoreOptions,
): Promise<void> {
  const existing: { name: string }[] = [];
  for (const { spec } of targets)
    if (await findVolume(ctx.engine, spec.name)) existing.push({ name: spec.name });
  if (existing.length === 0) return;
  const states = await inspectTargets(ctx, mountEach(existing, true));
  for (const [name, state] of states) {
    try {
      assertWritable(name, state, options.onConflict);
    } catch (error) {
      const onlyImage =
        options.into && (await holdsOnlyImageFiles(ctx, options.into, name).catch(() => false));
      if (!onlyImage) throw error;
      throw new VolbakError(
        'TARGET_NOT_EMPTY',
        `volume ${name} is not empty, but holds only what the image of ${options.into?.name} put there`,
        {
          hint: 'Nobody wrote into it: --on-conflict replace is safe.',
        },
      );
    }
  }
}

async function stopUsers(
  { ctx, env }: RestoreDeps,
  targets: RestoreTarget[],
  options: RestoreOptions,
): Promise<() => Promise<void>> {
  const names = targets.map(({ spec }) => spec.name);
  if (options.stop) {
    const journal = new Journal<QuiesceNote>(`${env.stateDirectory}/${QUIESCE_JOURNAL}`);
    return (await quiesce(ctx.engine, 'stop', names, journal)).resume;
  }
  for (const name of names) {
    const running = (await containersUsing(ctx.engine, name)).filter((c) => c.State === 'running');
    if (running.length === 0) continue;
    const users = running.map((c) => c.Names[0]?.replace(/^\//, '') ?? c.Id).join(', ');
    env.emit({
      event: 'warning',
      volume: name,
      message: `written while ${users} uses it; --stop stops it meanwhile`,
    });
  }
  return async () => {};
}

/** Extracts all volumes before the first old content is replaced: damage found in the last one changes nothing. */
async function fillAll(
  deps: RestoreDeps,
  targets: RestoreTarget[],
  states: ReadonlyMap<string, TargetState>,
  attachment: Attachment,
  options: RestoreOptions,
  fetch: FetchOptions,
): Promise<RestoredVolume[]> {
  for (const { source, spec } of targets) {
    const state = states.get(spec.name) as TargetState;
    assertWritable(spec.name, state, options.onConflict);
    if (isWhole(options.selection)) assertSpace(spec.name, state, source.tarBytes);
  }
  const digests = new Map<string, string>();
  const check = async (bases: ReadonlyMap<string, string>) => {
    for (const { source, spec } of targets) {
      const path = bases.get(spec.name) as string;
      digests.set(spec.name, await proveVolume(deps, attachment, path, source, spec.name));
    }
  };
  const write = {
    ctx: deps.ctx,
    attachment,
    states,
    onConflict: options.onConflict,
    ...(options.verify ? { check } : {}),
  };
  const restored = await writeVolumes(write, async (bases) => {
    const done: RestoredVolume[] = [];
    for (const target of targets) {
      const path = bases.get(target.spec.name) as string;
      done.push(await fillVolume(deps, target, attachment, path, options, fetch));
    }
    return done;
  });
  return restored.map((volume) => {
    const digest = digests.get(volume.name);
    return digest === undefined ? volume : { ...volume, digest };
  });
}

async function fillVolume(
  { ctx, env }: RestoreDeps,
  { source, spec }: RestoreTarget,
  attachment: Attachment,
  path: string,
  options: RestoreOptions,
  fetch: FetchOptions,
): Promise<RestoredVolume> {
  env.emit({
    event: 'volume-start',
    volume: spec.name,
    action: 'restore',
    entries: source.entries,
    bytes: source.tarBytes,
  });
  let bytes = 0;
  const tar = counted(volumeTar(source, options.selection, fetch), (done) => {
    bytes = done;
    const total = isWhole(options.selection) ? { total: source.tarBytes } : {};
    env.emit({ event: 'progress', volume: spec.name, action: 'restore', done, ...total });
  });
  const warnings = await extractInto(ctx, attachment, path, tar);
  for (const message of warnings) env.emit({ event: 'warning', volume: spec.name, message });
  env.emit({ event: 'volume-done', volume: spec.name, action: 'restore', bytes });
  return { name: spec.name, from: source.name, entries: source.entries, bytes, warnings };
}

/** Reads a written volume again through the front half of a backup. Raises INTEGRITY where it differs. */
async function proveVolume(
  { ctx }: Pick<RestoreDeps, 'ctx'>,
  attachment: Attachment,
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
