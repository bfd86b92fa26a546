import { isVolbakError, VolbakError } from '../../core/errors.ts';
import { mountEach } from '../../engine/attachment.ts';
import type { EngineConnection } from '../../engine/connect.ts';
import { MADE_LABEL } from '../../engine/labels.ts';
import { type ContainerPlan, planContainer } from '../../engine/recreate.ts';
import {
  canNameVolume,
  containersUsing,
  findVolume,
  type ResolvedSource,
  resolveContainer,
  resolveVolume,
  type SourceVolume,
} from '../../engine/source.ts';
import type { VolumeSpec } from '../../engine/volumes.ts';
import type { EngineContext } from '../engine-context.ts';
import { hookTarget } from '../hooks.ts';
import type { TargetState } from '../write/inspect.ts';
import { inspectSettled } from '../write/settle.ts';
import { assertWritable } from '../write/write-volumes.ts';
import type { MigrateDeps, MigrateOptions, MigratePlan, VolumePlan } from './types.ts';

/** Finds out what goes where. Raises what makes it impossible; nothing is changed by it. */
export async function planMigration(
  deps: MigrateDeps,
  name: string,
  options: MigrateOptions,
): Promise<MigratePlan> {
  const { from, to } = deps;
  const source = await resolve(from.engine, name);
  assertOptions(source, options);
  if (source.volumes.length === 0) {
    throw new VolbakError('NOT_FOUND_IN_ENGINE', `container ${source.name} has no volumes to migrate`);
  }
  const volumes: VolumePlan[] = [];
  for (const volume of source.volumes) {
    volumes.push({ from: volume.name, spec: await specOf(from.engine, source, volume, options) });
  }
  assertNames(deps, volumes);
  await assertEmpty(deps, volumes);
  hookTarget(from.engine, source, options.hooks);
  const container = options.withContainer
    ? { container: await planContainer(from.engine, to.engine, source.name) }
    : {};
  if (container.container) assertRecreated(source, container.container);
  return { source, volumes, ...container };
}

/** A container of that name; where there is none, a volume. */
async function resolve(engine: EngineConnection, name: string): Promise<ResolvedSource> {
  try {
    return await resolveContainer(engine, name);
  } catch (error) {
    if (!isVolbakError(error, 'NOT_FOUND_IN_ENGINE')) throw error;
  }
  if (await findVolume(engine, name)) return resolveVolume(engine, name);
  throw new VolbakError(
    'NOT_FOUND_IN_ENGINE',
    `the engine ${engine.info.name} has neither a container nor a volume '${name}'`,
    { hint: '`docker ps -a` and `docker volume ls` list what there is.' },
  );
}

function assertOptions(source: ResolvedSource, { rename, withContainer }: MigrateOptions): void {
  if (withContainer && source.kind !== 'container')
    throw new VolbakError('USAGE', `--with-container: ${source.name} is a volume, not a container`);
  const odd = [...rename.keys()].find((name) => !source.volumes.some((volume) => volume.name === name));
  if (odd === undefined) return;
  throw new VolbakError('USAGE', `--rename names volume '${odd}', which is not being migrated`, {
    hint: `Being migrated: ${source.volumes.map((volume) => volume.name).join(', ')}.`,
  });
}

/** A part of a volume is no mount that every engine can make. */
function assertRecreated(source: ResolvedSource, { name }: ContainerPlan): void {
  const part = source.volumes.find(({ subpath }) => subpath !== undefined);
  if (part)
    throw new VolbakError(
      'USAGE',
      `container ${name} mounts only a part of volume ${part.name}, which --with-container cannot make again`,
    );
}

async function specOf(
  engine: EngineConnection,
  source: ResolvedSource,
  volume: SourceVolume,
  { rename }: MigrateOptions,
): Promise<VolumeSpec> {
  // The engine's own answer: options as they are, also those that hold a password, go nowhere but into the other engine.
  const info = await findVolume(engine, volume.name);
  const driverOpts = info?.Options ?? {};
  if (driverOpts.type === 'tmpfs')
    throw new VolbakError(
      'USAGE',
      `volume ${volume.name} lives in memory: its content is gone once it is stopped`,
    );
  const labels = Object.entries(volume.labels).filter(
    ([key]) => key !== 'com.docker.volume.anonymous' && key !== MADE_LABEL,
  );
  return {
    name: rename.get(volume.name) ?? readableName(source, volume),
    driver: volume.driver,
    driverOpts,
    labels: Object.fromEntries(labels),
  };
}

/** Anonymous volumes get a name that says what they are. */
function readableName(source: ResolvedSource, { name, anonymous, destinations }: SourceVolume): string {
  if (!anonymous) return name;
  const place = (destinations[0] ?? name.slice(0, 12)).replace(/[^a-zA-Z0-9_.-]+/g, '_').replace(/^_+/, '');
  return source.kind === 'container' ? `${source.name}_${place}` : name;
}

function assertNames({ from, to }: MigrateDeps, volumes: readonly VolumePlan[]): void {
  const names = volumes.map(({ spec }) => spec.name);
  const odd = names.find((name) => !canNameVolume(name));
  if (odd !== undefined) throw new VolbakError('USAGE', `'${odd}' can be no name of a volume`);
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined) throw new VolbakError('USAGE', `two volumes would go into '${twice}'`);
  if (from.engine.info.id !== to.engine.info.id) return;
  const same = volumes.find((volume) => volume.from === volume.spec.name);
  if (same)
    throw new VolbakError(
      'USAGE',
      `volume ${same.from} would go into itself: both are the engine ${to.engine.info.name}`,
      {
        hint: 'Give it another name there: --rename old=new.',
      },
    );
}

/** Looks at all targets that are there already. Raises TARGET_NOT_EMPTY. */
async function assertEmpty({ to, env }: MigrateDeps, volumes: readonly VolumePlan[]): Promise<void> {
  const existing: { name: string }[] = [];
  for (const { spec } of volumes)
    if (await findVolume(to.engine, spec.name)) existing.push({ name: spec.name });
  if (existing.length === 0) return;
  assertStates(to, await inspectSettled(to, mountEach(existing, true), env.emit));
  for (const { name } of existing) await assertUnused(to, name);
}

/** What a running container writes into the target meanwhile would be lost, or spoil what arrives. */
async function assertUnused({ engine }: EngineContext, volume: string): Promise<void> {
  const user = (await containersUsing(engine, volume)).find(({ State }) => State === 'running');
  if (!user) return;
  const name = user.Names[0]?.replace(/^\//, '') ?? user.Id;
  throw new VolbakError(
    'TARGET_NOT_EMPTY',
    `volume ${volume} is in use by container ${name} on engine ${engine.info.name}`,
    { hint: 'Stop it there first, or give the volume another name: --rename old=new.' },
  );
}

/** Raises TARGET_NOT_EMPTY where a target volume holds something. */
export function assertStates(to: EngineContext, states: ReadonlyMap<string, TargetState>): void {
  for (const [name, state] of states) {
    try {
      assertWritable(name, state, 'refuse');
    } catch (error) {
      if (!isVolbakError(error, 'TARGET_NOT_EMPTY')) throw error;
      throw new VolbakError('TARGET_NOT_EMPTY', `${error.message}, on engine ${to.engine.info.name}`, {
        hint: 'Give it another name there (--rename old=new), or remove that volume if nobody needs it.',
      });
    }
  }
}
