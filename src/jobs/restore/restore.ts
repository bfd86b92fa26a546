import { createFramePool } from '../../codec/pool.ts';
import { VolbakError } from '../../core/errors.ts';
import { Journal } from '../../core/journal.ts';
import { mountEach } from '../../engine/attachment.ts';
import { MADE_VOLUMES_JOURNAL, MadeVolumes } from '../../engine/made-volumes.ts';
import { containersUsing, findVolume } from '../../engine/source.ts';
import type { VolumeSpec } from '../../engine/volumes.ts';
import type { FetchOptions } from '../../repository/fetch.ts';
import type { SnapshotName } from '../../repository/keys.ts';
import type { Manifest } from '../../repository/manifest.ts';
import type { Repository } from '../../repository/repository.ts';
import { Session } from '../../repository/session.ts';
import type { EngineContext } from '../engine-context.ts';
import type { JobEnvironment } from '../environment.ts';
import { halt } from '../hold.ts';
import { inspectTargets, type TargetState } from '../write/inspect.ts';
import { assertKeepName } from '../write/keep-old.ts';
import { assertNothingNested } from '../write/nested.ts';
import { inspectSettled } from '../write/settle.ts';
import { assertWritable, type OnConflict } from '../write/write-volumes.ts';
import { holdsSelection, isWhole, type Selection } from './content.ts';
import { fillAll } from './fill.ts';
import { holdsOnlyImageFiles } from './image-content.ts';
import { planTargets, type RestoreTarget, type TargetOptions } from './targets.ts';

export interface RestoreOptions extends TargetOptions {
  selection: Selection;
  onConflict: OnConflict;
  /** Keep what a replacement takes away, in this directory of the volume. */
  keepOld?: string;
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
  /** Set where it was proven. */
  digest?: string;
  /** Directory of the volume in which its old content is. */
  keptOld?: string;
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
  assertKeepName(options.keepOld, options.onConflict);
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
  const existing = await inspectExisting(deps, targets, options);
  const made = new MadeVolumes(ctx.engine, new Journal(`${env.stateDirectory}/${MADE_VOLUMES_JOURNAL}`));
  const resume = await stopUsers(deps, targets, options);
  try {
    for (const { spec } of targets) {
      await made.ensure(spec);
      const message = oddPlace(spec, made.names.has(spec.name));
      if (message !== undefined) env.emit({ event: 'warning', volume: spec.name, message });
    }
    const attachment = mountEach(
      targets.map(({ spec }) => ({ name: spec.name })),
      false,
    );
    // What was looked at a moment ago is not looked at again, where nothing was made or stopped since.
    const seen = made.names.size === 0 && !options.stop;
    const states = seen ? existing : await inspectTargets(ctx, attachment);
    if (options.onConflict === 'replace')
      for (const { spec } of targets) await assertNothingNested(ctx.engine, spec.name);
    const restored = await fillAll({ ...deps, targets, states, attachment, made, options, fetch });
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

/** What a user should know of where a volume's content goes. Options come from the snapshot, which may be anybody's. */
function oddPlace({ driverOpts }: VolumeSpec, made: boolean): string | undefined {
  if (driverOpts.type === 'tmpfs')
    return 'lives in memory: its content is gone as soon as no container uses it';
  const { device = '' } = driverOpts;
  if (!made || !device.startsWith('/')) return undefined;
  return `its options, as the snapshot has them, lead to ${device} on the engine's machine`;
}

/** Looks at all targets that are there before the first is touched: a refusal leaves everything as it was. */
async function inspectExisting(
  { ctx, env }: RestoreDeps,
  targets: RestoreTarget[],
  options: RestoreOptions,
): Promise<Map<string, TargetState>> {
  const existing: { name: string }[] = [];
  for (const { spec } of targets)
    if (await findVolume(ctx.engine, spec.name)) existing.push({ name: spec.name });
  if (existing.length === 0) return new Map();
  const states = await inspectSettled(ctx, mountEach(existing, true), env.emit);
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
  return states;
}

async function stopUsers(
  { ctx, env }: RestoreDeps,
  targets: RestoreTarget[],
  options: RestoreOptions,
): Promise<() => Promise<void>> {
  const names = targets.map(({ spec }) => spec.name);
  if (options.stop) {
    return (await halt(env, ctx.engine, 'stop', names)).resume;
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
