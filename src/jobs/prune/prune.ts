import { VolbakError } from '../../core/errors.ts';
import { sleep } from '../../core/sleep.ts';
import { formatDuration, plural } from '../../core/units.ts';
import { readDoomed } from '../../repository/doomed.ts';
import type { Repository } from '../../repository/repository.ts';
import { Session } from '../../repository/session.ts';
import { expectMayDelete } from '../../repository/store-clock.ts';
import type { JobEnvironment } from '../environment.ts';
import { VerifyJob } from '../verify/verify.ts';
import { collect, type Deleted } from './collect.ts';
import { type Look, Lookout, type PruneRules, type Senses } from './look.ts';
import { type Rewritten, rewriteSparse } from './rewrite.ts';
import type { Reason } from './victims.ts';

export interface PruneOptions extends PruneRules {
  dryRun: boolean;
  /** Watch sessions that look dead for as long as it takes to know. */
  wait: boolean;
  /** Delete only after all snapshots were found whole. */
  verify: boolean;
  /** Store live frames of segments anew that hold little else than dead ones. */
  rewrite: boolean;
}

/** What stays for now though no snapshot needs it. */
export interface Pending {
  reason: Reason;
  segments: number;
  bytes: number;
  /** When the first and the last of it may go, by the store's clock; absent where no time can be told. */
  from?: string;
  until?: string;
}

export interface PruneReport {
  dryRun: boolean;
  /** With `dryRun`: what would go. */
  deleted: Deleted;
  rewritten: Rewritten;
  pending: Pending[];
  /** Sessions at work; `deadIn` says in how many ms a prune may know that one is dead which looks it. */
  sessions: { id: string; kind: string; last: string; deadIn?: number }[];
  /** Sources whose newest snapshot shrank: what was forgotten of them stays. */
  spared: { source: string; reason: string }[];
}

/** Frees the space of what no snapshot needs. Raises REPOSITORY_BUSY or INTEGRITY, and then nothing was deleted. */
export async function prune(
  env: JobEnvironment,
  repository: Repository,
  options: PruneOptions,
  senses: Senses,
): Promise<PruneReport> {
  if (!options.dryRun) await expectMayDelete(repository.store);
  const lookout = await Lookout.begin(env, repository, options, senses);
  if (options.verify) await expectWhole(env, repository);
  if (options.dryRun) return dryRun(env, repository, lookout, options);
  const session = await Session.begin({
    store: repository.store,
    kind: 'prune',
    uses: [],
    now: () => env.clock.now().getTime(),
  });
  lookout.isOwn(session.id);
  try {
    let look = await firstLook(env, lookout, options);
    const deleted = await collectIfAny(env, repository, session, lookout, look);
    if (deleted) look = await lookout.look();
    // A run of its own: nothing is deleted in it.
    const rewritten = options.rewrite
      ? await rewriteSparse(env, repository, session, look, options.graceMs)
      : NOTHING_REWRITTEN;
    if (rewritten.snapshots > 0) look = await lookout.look();
    await lookout.remember(look);
    return { ...reportOf(look), dryRun: false, deleted: deleted ?? NOTHING_DELETED, rewritten };
  } finally {
    await session.end();
  }
}

const NOTHING_DELETED: Deleted = { segments: 0, bytes: 0, snapshots: [], sessions: [] };
const NOTHING_REWRITTEN: Rewritten = { snapshots: 0, segments: 0, bytes: 0, storedBytes: 0 };

async function dryRun(
  env: JobEnvironment,
  repository: Repository,
  lookout: Lookout,
  options: PruneOptions,
): Promise<PruneReport> {
  const look = await firstLook(env, lookout, options);
  await lookout.remember(look);
  const { victims, condemned } = look.judgement;
  const ids = new Set(look.found.snapshots.map(({ id }) => id));
  const deleted = {
    segments: victims.length,
    bytes: victims.reduce((sum, { size }) => sum + size, 0),
    snapshots: [...new Set(condemned.map(({ name }) => name.id))].filter((id) => !ids.has(id)),
    sessions: look.liveness.dead.map(({ id }) => id),
  };
  const rewritten = options.rewrite
    ? await rewriteSparse(env, repository, undefined, look, options.graceMs)
    : NOTHING_REWRITTEN;
  return { ...reportOf(look), dryRun: true, deleted, rewritten };
}

/** A look, and where that was asked for another one, when all that looks dead has been watched for long enough. */
async function firstLook(env: JobEnvironment, lookout: Lookout, { wait }: PruneOptions): Promise<Look> {
  const look = await lookout.look();
  const { suspects } = look.liveness;
  if (!wait || suspects.length === 0) return look;
  const ms = Math.max(...suspects.map(({ waitMs }) => waitMs));
  env.emit({
    event: 'info',
    message: `${plural(suspects.length, 'session')} may be dead: watching for ${formatDuration(ms)}`,
  });
  await sleep(ms, env.signal);
  return lookout.look();
}

async function collectIfAny(
  env: JobEnvironment,
  { store }: Repository,
  session: Session,
  lookout: Lookout,
  look: Look,
): Promise<Deleted | undefined> {
  const { victims, condemned } = look.judgement;
  const notes = await readDoomed(store);
  if (victims.length + condemned.length + look.liveness.dead.length + notes.length === 0) return undefined;
  return collect(store, session, lookout, look, env.signal);
}

async function expectWhole(env: JobEnvironment, repository: Repository): Promise<void> {
  const { errors } = await new VerifyJob(env, repository, { quick: false }).run(
    await repository.snapshotNames(),
  );
  const [first] = errors;
  if (first)
    throw new VolbakError(
      'INTEGRITY',
      `${plural(errors.length, 'problem')} found before pruning, the first: ${first.message}`,
      {
        hint: 'Nothing was deleted. Run `volbak verify`; `--repair <other repository>` takes frames from a copy.',
      },
    );
}

function reportOf({
  judgement,
  liveness,
  shrunk,
}: Look): Pick<PruneReport, 'pending' | 'sessions' | 'spared'> {
  const waits = new Map(liveness.suspects.map(({ session, waitMs }) => [session.id, waitMs]));
  return {
    pending: pendingOf(judgement.pending),
    sessions: liveness.live.map(({ id, kind, last }) => {
      const deadIn = waits.get(id);
      return { id, kind, last: last.toISOString(), ...(deadIn === undefined ? {} : { deadIn }) };
    }),
    spared: [...shrunk].map(([source, reason]) => ({ source, reason })),
  };
}

function pendingOf(pending: Look['judgement']['pending']): Pending[] {
  const byReason = new Map<Reason, { segments: number; bytes: number; times: number[] }>();
  for (const { size, held } of pending) {
    const sum = byReason.get(held.reason) ?? { segments: 0, bytes: 0, times: [] };
    sum.segments++;
    sum.bytes += size;
    if (held.until !== undefined) sum.times.push(held.until);
    byReason.set(held.reason, sum);
  }
  return [...byReason].map(([reason, { segments, bytes, times }]) => {
    if (times.length === 0) return { reason, segments, bytes };
    const [from, until] = [Math.min(...times), Math.max(...times)].map((t) => new Date(t).toISOString());
    return { reason, segments, bytes, from: from as string, until: until as string };
  });
}
