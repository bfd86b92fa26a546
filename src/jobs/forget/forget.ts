import { isVolbakError, messageOf, VolbakError } from '../../core/errors.ts';
import { readAhead } from '../../core/read-ahead.ts';
import { describeShrinking } from '../../core/shrunk.ts';
import { condemn } from '../../repository/condemned.ts';
import { manifestKey, type SnapshotName } from '../../repository/keys.ts';
import type { Manifest } from '../../repository/manifest.ts';
import { formatSource } from '../../repository/references.ts';
import type { Repository } from '../../repository/repository.ts';
import { hasRules, type RetentionRules, retain } from '../../repository/retention.ts';
import { expectMayDelete } from '../../repository/store-clock.ts';
import type { JobEnvironment } from '../environment.ts';
import { extentOf } from '../shrunk.ts';

export interface ForgetOptions {
  rules: RetentionRules;
  /** IANA name of the time zone in which hours, days, weeks, … begin. */
  zone: string;
  /** Also where the newest snapshot shrank by more than half. */
  force: boolean;
}

export interface PlannedSnapshot {
  id: string;
  status: 'complete' | 'partial' | 'unreadable';
  keep: boolean;
  /** The rules that keep it. */
  reasons: string[];
}

export interface SourcePlan {
  source: string;
  /** Oldest first. */
  snapshots: PlannedSnapshot[];
  /** Why nothing of this source is forgotten, though the rules would. */
  spared?: string;
}

export interface ForgetPlan {
  sources: SourcePlan[];
  remove: SnapshotName[];
  /** Snapshots that the removal relies on. */
  keep: SnapshotName[];
}

/** Decides what goes, source by source. Changes nothing. Raises USAGE where no rule is given. */
export async function planForget(
  env: JobEnvironment,
  repository: Repository,
  names: readonly SnapshotName[],
  options: ForgetOptions,
): Promise<ForgetPlan> {
  if (!hasRules(options.rules))
    throw new VolbakError('USAGE', 'no rule says which snapshots stay', {
      hint: 'volbak forget --keep-daily 7 --keep-weekly 5, or another --keep-…; --dry-run shows what would go.',
    });
  const plan: ForgetPlan = { sources: [], remove: [], keep: [] };
  for (const [source, own] of bySource(names)) {
    const sourcePlan = await planSource(env, repository, source, own, options);
    plan.sources.push(sourcePlan);
    own.forEach((name, i) => {
      plan[sourcePlan.snapshots[i]?.keep ? 'keep' : 'remove'].push(name);
    });
  }
  return plan;
}

function bySource(names: readonly SnapshotName[]): Map<string, SnapshotName[]> {
  const groups = new Map<string, SnapshotName[]>();
  for (const name of names) {
    const source = formatSource(name.source);
    const group = groups.get(source);
    if (group) group.push(name);
    else groups.set(source, [name]);
  }
  return new Map([...groups].sort(([a], [b]) => (a < b ? -1 : 1)));
}

async function planSource(
  env: JobEnvironment,
  repository: Repository,
  source: string,
  names: readonly SnapshotName[],
  options: ForgetOptions,
): Promise<SourcePlan> {
  const read: (Manifest | undefined)[] = [];
  const one = async (name: SnapshotName) => {
    env.signal.throwIfAborted();
    return repository.manifest(name).catch((error: unknown) => {
      if (!isVolbakError(error, 'INTEGRITY')) throw error;
      env.emit({ event: 'warning', message: `snapshot ${name.id} is kept: ${messageOf(error)}` });
      return undefined;
    });
  };
  for await (const manifest of readAhead(names, 8, one)) read.push(manifest);
  const readable = read.filter((manifest) => manifest !== undefined);
  const candidates = readable.map(({ id, status, tags }) => ({ id, complete: status === 'complete', tags }));
  const verdicts = new Map(retain(candidates, options.rules, options.zone).map((v) => [v.id, v]));
  const shrunk = shrinkingOf(readable);
  const mayForget = shrunk === undefined || options.force;
  const snapshots = names.map(({ id }, i): PlannedSnapshot => {
    const verdict = verdicts.get(id);
    if (!verdict) return { id, status: 'unreadable', keep: true, reasons: ['unreadable'] };
    const status = (read[i] as Manifest).status;
    if (verdict.keep || mayForget) return { id, status, keep: verdict.keep, reasons: verdict.reasons };
    return { id, status, keep: true, reasons: ['source shrank'] };
  });
  const held = snapshots.some(({ reasons }) => reasons[0] === 'source shrank');
  return { source, snapshots, ...(shrunk !== undefined && held ? { spared: shrunk } : {}) };
}

function shrinkingOf(manifests: readonly Manifest[]): string | undefined {
  const [newest, before] = [manifests.at(-1), manifests.at(-2)];
  return describeShrinking(newest && extentOf(newest), before && extentOf(before));
}

/**
 * Takes snapshots out: their manifests are copied to `condemned/`, then removed from `snapshots/` (format.md). Their data
 * stays until a prune. Raises REPOSITORY_BUSY, with nothing removed, where one that should stay is gone meanwhile.
 */
export async function forget(env: JobEnvironment, repository: Repository, plan: ForgetPlan): Promise<void> {
  const { store } = repository;
  if (plan.remove.length === 0) return;
  await expectMayDelete(store);
  for (const name of plan.remove) {
    env.signal.throwIfAborted();
    await condemn(store, name);
  }
  await expectStanding(repository, plan.keep);
  for (const { source, id } of plan.remove) {
    env.signal.throwIfAborted();
    await store.delete(manifestKey(source, id), { signal: env.signal });
  }
}

/** A backup that failed at its very end takes its snapshot back: one that this plan may have counted on. */
async function expectStanding(repository: Repository, keep: readonly SnapshotName[]): Promise<void> {
  const standing = new Set(
    (await repository.snapshotNames()).map(({ source, id }) => manifestKey(source, id)),
  );
  const gone = keep.find(({ source, id }) => !standing.has(manifestKey(source, id)));
  if (gone)
    throw new VolbakError(
      'REPOSITORY_BUSY',
      `snapshot ${gone.id} of ${formatSource(gone.source)} went away meanwhile; nothing was forgotten`,
      { hint: 'Run it again.' },
    );
}
