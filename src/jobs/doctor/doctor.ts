import type { Clock } from '../../core/clock.ts';
import { isVolbakError, toVolbakError } from '../../core/errors.ts';
import { formatDuration, plural } from '../../core/units.ts';
import { mountEach } from '../../engine/attachment.ts';
import type { EngineConnection } from '../../engine/connect.ts';
import { inspectHelper } from '../../engine/image-inspect.ts';
import { runInImage } from '../../engine/run-in-image.ts';
import { findLeftovers } from '../../engine/sweep.ts';
import { isEmpty } from '../../repository/descriptor.ts';
import { timeOfId } from '../../repository/keys.ts';
import type { Repository } from '../../repository/repository.ts';
import type { Store } from '../../store/store.ts';
import type { EngineContext } from '../engine-context.ts';
import { inspectTargets } from '../write/inspect.ts';
import { StoreCheck } from './store-check.ts';

export interface Check {
  name: string;
  state: 'ok' | 'warning' | 'failed';
  detail: string;
  hint?: string;
  exitCode?: number;
}

export interface Patient {
  clock: Clock;
  signal: AbortSignal;
  connect(): Promise<EngineConnection>;
  engine(): Promise<EngineContext>;
  store(): Promise<Store>;
  repository(): Promise<Repository>;
}

type Probe = () => Promise<Omit<Check, 'name'>>;

/** Clocks further apart than this make ids and retention confusing. */
const CLOCK_LIMIT_MS = 60_000;

/** Looks at everything volbak needs, each with what to do where it is not well. */
export async function examine(patient: Patient): Promise<Check[]> {
  const checks: Check[] = [];
  const check = async (name: string, probe: Probe): Promise<boolean> => {
    try {
      checks.push({ name, ...(await probe()) });
    } catch (error) {
      patient.signal.throwIfAborted();
      const { message, hint, exitCode } = toVolbakError(error);
      checks.push({
        name,
        state: 'failed',
        detail: message,
        exitCode,
        ...(hint === undefined ? {} : { hint }),
      });
    }
    return checks.at(-1)?.state !== 'failed';
  };
  let engine: EngineConnection | undefined;
  const reached = await check('engine', async () => {
    engine = await patient.connect();
    const { name, serverVersion, apiVersion } = engine.info;
    return {
      state: 'ok',
      detail: `${name} at ${engine.endpoint.label}, version ${serverVersion}, API ${apiVersion}`,
    };
  });
  if (reached && engine) {
    const connection = engine;
    await check('clock', () => checkClock(connection, patient.clock));
    await checkHelper(patient, check);
    await check('leftovers', () => checkLeftovers(connection));
  }
  const answers = await check('repository', () => checkRepository(patient));
  if (answers)
    checks.push(...(await new StoreCheck(await patient.store(), patient.clock, patient.signal).run()));
  return checks;
}

async function checkClock(engine: EngineConnection, clock: Clock): Promise<Omit<Check, 'name'>> {
  const { SystemTime } = (await engine.docker.info()) as { SystemTime?: string };
  const apart = Math.abs(Date.parse(SystemTime ?? '') - clock.now().getTime());
  if (Number.isNaN(apart)) return { state: 'warning', detail: 'the engine does not tell its time' };
  if (apart <= CLOCK_LIMIT_MS) return { state: 'ok', detail: 'engine and volbak agree on the time' };
  return {
    state: 'warning',
    detail: `the engine's clock is ${formatDuration(apart)} away from ours`,
    hint: 'Run NTP on both.',
  };
}

async function checkHelper(
  patient: Patient,
  check: (name: string, probe: Probe) => Promise<boolean>,
): Promise<void> {
  let ctx: EngineContext | undefined;
  const there = await check('helper image', async () => {
    ctx = await patient.engine();
    const { tar, missing } = await inspectHelper(ctx.image, runInImage(ctx.engine, patient.signal));
    if (missing.length === 0) return { state: 'ok', detail: `${ctx.image}, ${tar}` };
    return {
      state: 'failed',
      detail: `${ctx.image} lacks ${missing.join(', ')}`,
      hint: 'Use another one (--helper-image), or `volbak helper build`.',
      exitCode: 22,
    };
  });
  if (!there || !ctx) return;
  const context = ctx;
  await check('lane', async () => {
    await inspectTargets(context, mountEach([], true));
    return context.lane === 'pipe'
      ? { state: 'ok', detail: 'pipe: engine and volbak share this machine' }
      : { state: 'ok', detail: 'attach: data goes through the engine, two to four times slower than a pipe' };
  });
}

async function checkLeftovers(engine: EngineConnection): Promise<Omit<Check, 'name'>> {
  const leftovers = (await findLeftovers(engine)).filter(({ state }) => state === 'elsewhere');
  if (leftovers.length === 0) return { state: 'ok', detail: 'none' };
  const names = leftovers.map(({ name }) => name).join(' ');
  return {
    state: 'warning',
    detail: `${plural(leftovers.length, 'helper')} of a volbak on another host`,
    hint: `If it does not run any more: docker rm -f ${names}`,
  };
}

async function checkRepository(patient: Patient): Promise<Omit<Check, 'name'>> {
  const store = await patient.store();
  const repository = await patient.repository().catch(async (error: unknown) => {
    if (isVolbakError(error, 'REPOSITORY_MISSING') && (await isEmpty(store))) return undefined;
    throw error;
  });
  if (!repository) {
    return {
      state: 'warning',
      detail: `${store.label}: there is none yet`,
      hint: '`volbak init` or the first backup makes it.',
    };
  }
  const names = await repository.snapshotNames();
  const last = names.at(-1);
  const age = last
    ? `, the newest ${formatDuration(patient.clock.now().getTime() - timeOfId(last.id).getTime())} old`
    : '';
  return { state: 'ok', detail: `${repository.store.label}: ${plural(names.length, 'snapshot')}${age}` };
}
