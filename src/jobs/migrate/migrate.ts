import { Journal } from '../../core/journal.ts';
import { type Attachment, mountEach } from '../../engine/attachment.ts';
import { MADE_VOLUMES_JOURNAL, MadeVolumes } from '../../engine/made-volumes.ts';
import type { Quiesced } from '../../engine/quiesce.ts';
import { copyImageOf, recreateContainer, removeContainer, startContainer } from '../../engine/recreate.ts';
import { inspectContainer } from '../../engine/source.ts';
import { halt } from '../hold.ts';
import { type HookTarget, hookTarget, withHooks } from '../hooks.ts';
import { listVolume } from '../read/list.ts';
import type { Listing } from '../read/listing.ts';
import { inspectTargets } from '../write/inspect.ts';
import { emptyVolume, STAGES_JOURNAL, type StageNote } from '../write/stage.ts';
import { writeVolumes } from '../write/write-volumes.ts';
import { assertStates } from './plan.ts';
import { compresses } from './send.ts';
import type { MigrateDeps, MigratedVolume, MigrateOptions, MigratePlan, MigrateResult } from './types.ts';
import { VolumeMove } from './volume-move.ts';

/** Moves volumes, and a container if asked for, from one engine to another. */
export class Migration {
  readonly #deps: MigrateDeps;
  readonly #plan: MigratePlan;
  readonly #options: MigrateOptions;
  readonly #made: MadeVolumes;
  #moves: VolumeMove[] = [];
  #halted: Quiesced | undefined;
  #haltedAt = 0;
  /** Set when what was stopped runs again, here or there. */
  #downtimeMs: number | undefined;
  #compared: 'all' | 'parts' = 'parts';

  constructor(deps: MigrateDeps, plan: MigratePlan, options: MigrateOptions) {
    this.#deps = deps;
    this.#plan = plan;
    this.#options = options;
    this.#made = new MadeVolumes(
      deps.to.engine,
      new Journal(`${deps.env.stateDirectory}/${MADE_VOLUMES_JOURNAL}`),
    );
  }

  /** Does it. On any failure the source runs as before, and the target has neither a new volume nor a container. */
  async run(): Promise<MigrateResult> {
    const { env } = this.#deps;
    try {
      await this.#copyImage();
      await this.#fill();
      const container = await this.#container();
      this.#runsAgain();
      await this.#leaveStopped();
      return {
        volumes: this.#moves.map((move, i) => this.#describe(move, i)),
        downtimeMs: this.#downtimeMs ?? 0,
        stopped: this.#stopped,
        ...(container ? { container } : {}),
      };
    } catch (error) {
      try {
        await this.#halted?.resume();
      } finally {
        await this.#made.discardKept();
        const removed = await this.#made.discard();
        if (removed.length > 0)
          env.emit({ event: 'info', message: `removed again at the target: ${removed.join(', ')}` });
      }
      throw error;
    }
  }

  /** The containers stay stopped, where that was asked for; an engine that starts may think otherwise. */
  async #leaveStopped(): Promise<void> {
    await this.#halted?.release();
    if (!this.#options.keepSourceStopped) return;
    const { from, env } = this.#deps;
    for (const { id, name } of this.#halted?.containers ?? []) {
      const info = await inspectContainer(from.engine, id).catch(() => undefined);
      if (info?.HostConfig.RestartPolicy?.Name !== 'always') continue;
      const message = `${name} has the restart policy "always": it starts again when its engine does`;
      env.emit({ event: 'warning', message });
    }
  }

  get #stopped(): string[] {
    return this.#halted?.containers.map(({ name }) => name) ?? [];
  }

  async #copyImage(): Promise<void> {
    const { from, to, env } = this.#deps;
    const { container } = this.#plan;
    if (!container) return;
    const log = (message: string) => env.emit({ event: 'info', message });
    await copyImageOf(container, from.engine, to.engine, { signal: env.signal, log });
    for (const path of container.binds) {
      const message = `${container.name} mounts ${path} of its host, which is not moved`;
      env.emit({ event: 'warning', message });
    }
  }

  /** Makes and fills all target volumes; what was there and empty is filled beside and swapped in when it is proven. */
  async #fill(): Promise<void> {
    const { to, env } = this.#deps;
    for (const { spec } of this.#plan.volumes) await this.#made.ensure(spec);
    const attachment = mountEach(this.#targets, false);
    const states = await inspectTargets(to, attachment);
    assertStates(to, states);
    const stages = new Journal<StageNote>(`${env.stateDirectory}/${STAGES_JOURNAL}`);
    const write = { ctx: to, attachment, states, made: this.#made, onConflict: 'refuse' as const, stages };
    await writeVolumes(write, async (bases) => {
      const first = await this.#prepare(attachment, bases);
      for (const [i, move] of this.#moves.entries()) await move.livePass(i === 0 ? first : undefined);
      await this.#rest();
      // What is about to start at the target would write into it: then all that was written was proven in parts.
      if (!this.#options.verifyBeforeStart && !this.#startsThere) await this.#compareAll();
    });
  }

  /** What changed meanwhile, while the containers stand still, between the hooks. */
  async #rest(): Promise<void> {
    const { verifyBeforeStart, keepSourceStopped } = this.#options;
    const hooks = { ...this.#options.hooks };
    await withHooks(this.#hookTarget, hooks, this.#deps.env, async () => {
      await this.#stop();
      let stays = false;
      try {
        for (const move of this.#moves) await move.secondPass();
        if (verifyBeforeStart) await this.#compareAll();
        stays = keepSourceStopped;
      } finally {
        if (!stays) await this.#start();
        // Nothing can be run in a container that stays stopped.
        else hooks.after = [];
      }
    });
  }

  get #hookTarget(): HookTarget | undefined {
    return hookTarget(this.#deps.from.engine, this.#plan.source, this.#options.hooks);
  }

  get #targets(): { name: string }[] {
    return this.#plan.volumes.map(({ spec }) => ({ name: spec.name }));
  }

  get #startsThere(): boolean {
    return (this.#plan.container?.wasRunning ?? false) && this.#options.keepSourceStopped;
  }

  /** Makes the moves ready; answers with a listing of the first one's source. */
  async #prepare(target: Attachment, bases: ReadonlyMap<string, string>): Promise<Listing> {
    const { from, to, env } = this.#deps;
    const source = mountEach(
      this.#plan.volumes.map((volume) => ({ name: volume.from })),
      true,
    );
    // The first listing finds out which lane works, and whether an engine far away can compress depends on that.
    const first = await listVolume(from, source, [...source.paths.values()][0] as string);
    const [fromFar, toFar] = [await compresses(from), await compresses(to)];
    this.#moves = this.#plan.volumes.map((volume) => {
      const here = source.paths.get(volume.from) as string;
      const there = bases.get(volume.spec.name) as string;
      return new VolumeMove(
        volume.spec.name,
        { ctx: from, attachment: source, path: here, compressed: fromFar },
        { ctx: to, attachment: target, path: there, compressed: toFar },
        env.emit,
      );
    });
    return first;
  }

  /** Stops whatever uses the volumes. */
  async #stop(): Promise<void> {
    const { from, env } = this.#deps;
    const names = this.#plan.volumes.map((volume) => volume.from);
    this.#halted = await halt(env, from.engine, 'stop', names, () => {
      this.#haltedAt = env.clock.now().getTime();
    });
  }

  async #start(): Promise<void> {
    await this.#halted?.resume();
    this.#runsAgain();
  }

  #runsAgain(): void {
    const idle = this.#stopped.length === 0;
    this.#downtimeMs ??= idle ? 0 : this.#deps.env.clock.now().getTime() - this.#haltedAt;
  }

  async #compareAll(): Promise<void> {
    for (const move of this.#moves) await move.fullCompare();
    this.#compared = 'all';
  }

  /** Makes the container there; it is started where the source does not run any more. */
  async #container(): Promise<MigrateResult['container']> {
    const { to } = this.#deps;
    const { container, volumes } = this.#plan;
    if (!container) return undefined;
    const names = new Map(volumes.map((volume) => [volume.from, volume.spec.name]));
    let id: string | undefined;
    try {
      id = await recreateContainer(to.engine, container, names);
      if (this.#startsThere) await startContainer(to.engine, id, container.name);
    } catch (error) {
      if (id !== undefined) await removeContainer(to.engine, id).catch(() => {});
      await this.#emptyAgain();
      throw error;
    }
    this.#runsAgain();
    return { name: container.name, started: this.#startsThere };
  }

  /** Volumes that were there before stay, and are empty again. */
  async #emptyAgain(): Promise<void> {
    const attachment = mountEach(this.#targets, false);
    for (const path of attachment.paths.values())
      await emptyVolume(this.#deps.to, attachment, path).catch(() => {});
  }

  #describe(move: VolumeMove, at: number): MigratedVolume {
    const { digest, entries, liveBytes, secondBytes } = move;
    const onePass = this.#stopped.length === 0 && !move.changed;
    return {
      name: move.name,
      from: (this.#plan.volumes[at] as MigratePlan['volumes'][number]).from,
      passes: onePass ? 1 : 2,
      downtimeMs: this.#downtimeMs ?? 0,
      digest,
      compared: this.#compared,
      entries,
      liveBytes,
      secondBytes,
    };
  }
}
