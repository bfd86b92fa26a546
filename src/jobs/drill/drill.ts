import { randomBytes } from 'node:crypto';
import { isVolbakError, type VolbakError } from '../../core/errors.ts';
import { Journal } from '../../core/journal.ts';
import { formatBytes, plural } from '../../core/units.ts';
import { mountEach } from '../../engine/attachment.ts';
import { SCRATCH_LABEL } from '../../engine/labels.ts';
import { MADE_VOLUMES_JOURNAL, MadeVolumes } from '../../engine/made-volumes.ts';
import type { Service } from '../../engine/service.ts';
import type { SnapshotName } from '../../repository/keys.ts';
import type { Manifest } from '../../repository/manifest.ts';
import { formatSource } from '../../repository/references.ts';
import { Session } from '../../repository/session.ts';
import { WHOLE } from '../restore/content.ts';
import { planRestore, type RestoreDeps, type RestoreOptions, restore } from '../restore/restore.ts';
import { compareAll } from './compare-all.ts';
import { checkService, type Launched, launch } from './launch.ts';
import type { Outcome } from './service.ts';
import type { DrillOptions, DrillResult } from './types.ts';

/** Failures of the thing that is tried; all others are failures of the trial and end the command. */
const FINDINGS = [
  'INTEGRITY',
  'HELPER_FAILED',
  'HANDLER_FAILED',
  'NOT_FOUND_IN_ENGINE',
  'SNAPSHOT_NOT_FOUND',
  'TARGET_NOT_EMPTY',
] as const;

function isFinding(error: unknown): error is VolbakError {
  return FINDINGS.some((code) => isVolbakError(error, code));
}

/** A trial restore of one snapshot. */
export class Drill {
  readonly #deps: RestoreDeps;
  readonly #name: SnapshotName;
  readonly #options: DrillOptions;
  readonly #result: DrillResult;
  readonly #token = randomBytes(4).toString('hex');
  readonly #made: MadeVolumes;
  /** Scratch volumes by the names of the snapshot's. */
  readonly #scratch = new Map<string, string>();
  #service: Service | undefined;

  constructor(deps: RestoreDeps, name: SnapshotName, options: DrillOptions) {
    this.#deps = deps;
    this.#name = name;
    this.#options = options;
    const journal = `${deps.env.stateDirectory}/${MADE_VOLUMES_JOURNAL}`;
    this.#made = new MadeVolumes(deps.ctx.engine, new Journal(journal));
    this.#result = {
      source: formatSource(name.source),
      snapshot: name.id,
      started: deps.env.clock.now().toISOString(),
      passed: false,
      restoreMs: 0,
      rtoMs: null,
      durationMs: 0,
      checks: [],
      differences: [],
    };
  }

  /** Does it and cleans up. Raises only what says nothing about the snapshot. */
  async run(): Promise<DrillResult> {
    const began = this.#now();
    const { repository, env } = this.#deps;
    const uses = [this.#name];
    const now = () => this.#now();
    const session = await Session.begin({ store: repository.store, kind: 'drill', uses, now }).catch(
      (error: unknown) => {
        // A repository that may only be read can be tried, too.
        if (isVolbakError(error, 'STORE_DENIED')) return undefined;
        throw error;
      },
    );
    try {
      await this.#try();
    } finally {
      await this.#cleanUp();
      await session?.end();
    }
    env.signal.throwIfAborted();
    this.#result.durationMs = this.#now() - began;
    this.#result.passed = this.#result.checks.every(({ passed }) => passed);
    return this.#result;
  }

  #now(): number {
    return this.#deps.env.clock.now().getTime();
  }

  /** One step of the drill; false where it did not hold. What it found is in the result. */
  async #step(name: string, work: () => Promise<Outcome | undefined>): Promise<boolean> {
    const began = this.#now();
    let outcome: Outcome | undefined;
    try {
      outcome = await work();
    } catch (error) {
      this.#deps.env.signal.throwIfAborted();
      if (!isFinding(error)) throw error;
      outcome = { passed: false, detail: error.message };
    }
    if (!outcome) return true;
    this.#result.checks.push({ name, ...outcome, durationMs: this.#now() - began });
    return outcome.passed;
  }

  async #try(): Promise<void> {
    let manifest: Manifest | undefined;
    const restored = await this.#step('restore', async () => {
      manifest = await this.#deps.repository.manifest(this.#name);
      return this.#restore(manifest);
    });
    if (!restored || !manifest) return;
    const snapshot: Manifest = manifest;
    await this.#compare(snapshot);
    let launched: Launched | undefined;
    const began = this.#now();
    const started = await this.#step('start', async () => {
      launched = await launch(
        this.#deps,
        snapshot,
        this.#scratch,
        this.#options,
        `volbak-drill-${this.#token}`,
      );
      this.#service = launched?.service;
      return launched?.outcome;
    });
    if (!started) return;
    this.#result.rtoMs = this.#result.restoreMs + (launched ? this.#now() - began : 0);
    if (!launched) return;
    const service: Launched = launched;
    await this.#step('check', () => checkService(this.#deps, service, this.#options));
  }

  async #restore(manifest: Manifest): Promise<Outcome> {
    for (const [i, { name }] of manifest.volumes.entries()) {
      const readable = name.replace(/[^a-zA-Z0-9_.-]+/g, '_').slice(0, 40);
      const scratch = `volbak-drill-${this.#token}-${i}-${readable}`;
      this.#scratch.set(name, scratch);
      const labels = { [SCRATCH_LABEL]: 'drill' };
      await this.#made.ensure({ name: scratch, driver: 'local', driverOpts: {}, labels });
    }
    const options: RestoreOptions = {
      volumes: [],
      rename: this.#scratch,
      driver: 'local',
      driverOpts: {},
      selection: WHOLE,
      onConflict: 'refuse',
      stop: false,
      verify: false,
    };
    const began = this.#now();
    const restored = await restore(this.#deps, await planRestore(this.#deps, this.#name, options), options);
    this.#result.restoreMs = this.#now() - began;
    const bytes = restored.reduce((sum, volume) => sum + volume.bytes, 0);
    const warnings = restored.flatMap((volume) => volume.warnings);
    const partial = manifest.status === 'partial' ? '; the snapshot is partial' : '';
    return {
      passed: warnings.length === 0,
      detail: warnings[0] ?? `${plural(restored.length, 'volume')}, ${formatBytes(bytes)}${partial}`,
    };
  }

  async #compare(manifest: Manifest): Promise<void> {
    const attachment = mountEach(
      [...this.#scratch.values()].map((name) => ({ name })),
      true,
    );
    for (const volume of manifest.volumes) {
      await this.#step(`digest of ${volume.name}`, async () => {
        const scratch = this.#scratch.get(volume.name) as string;
        const { outcome, differences } = await compareAll(this.#deps, attachment, scratch, volume);
        this.#result.differences.push(...differences.map((found) => ({ volume: volume.name, ...found })));
        return outcome;
      });
    }
  }

  async #cleanUp(): Promise<void> {
    const { env } = this.#deps;
    const { keep } = this.#options;
    if (keep && !env.signal.aborted) {
      await this.#made.keep();
      const container = this.#service ? { container: this.#service.name } : {};
      this.#result.kept = { ...container, volumes: [...this.#scratch.values()] };
      return;
    }
    try {
      await this.#service?.remove();
    } finally {
      await this.#made.discard();
    }
  }
}
