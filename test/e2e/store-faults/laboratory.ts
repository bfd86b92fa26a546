import { createHash } from 'node:crypto';
import { createFramePool, type FramePool } from '../../../src/codec/pool.ts';
import { systemClock } from '../../../src/core/clock.ts';
import { connect, type EngineConnection } from '../../../src/engine/connect.ts';
import { resolveEndpoint } from '../../../src/engine/endpoint.ts';
import { chooseHelperImage } from '../../../src/engine/image.ts';
import type { EngineContext } from '../../../src/jobs/engine-context.ts';
import type { JobEnvironment } from '../../../src/jobs/environment.ts';
import { VerifyJob, type VerifyResult } from '../../../src/jobs/verify/verify.ts';
import { readTar } from '../../../src/repository/index-reader.ts';
import type { SnapshotName } from '../../../src/repository/keys.ts';
import { Repository } from '../../../src/repository/repository.ts';
import { type FaultKind, type FaultOptions, FaultStore, type FaultVerb } from '../../../src/store/fault.ts';
import { MemoryStore } from '../../../src/store/memory.ts';
import { RetryStore } from '../../../src/store/retry.ts';
import type { Store } from '../../../src/store/store.ts';
import { tempDir } from '../../support/temp.ts';

/** What jobs are given, without a command line. */
export async function jobEnvironment(): Promise<JobEnvironment> {
  const dir = await tempDir('volbak-lab-');
  return {
    emit: () => {},
    clock: systemClock,
    signal: new AbortController().signal,
    stateDirectory: `${dir}/state`,
    cacheDirectory: `${dir}/cache`,
    version: '0.0.0-test',
  };
}

/** One of the private engines with its helper image, in this process. */
export async function engineContext(host: string): Promise<EngineContext> {
  const { signal } = new AbortController();
  const engine: EngineConnection = await connect(
    resolveEndpoint({ env: {}, homeDir: '/nonexistent', host }),
    { signal },
  );
  const image = await chooseHelperImage(engine, {
    version: '0.0.0-test',
    allowPull: false,
    allowBuild: true,
    signal,
    log: () => {},
  });
  return { engine, image: image.name, lane: 'auto', signal };
}

/** mulberry32, another stream than the fault store's own. */
export function chance(seed: number): () => number {
  let state = Math.imul(seed + 1, 0x9e3779b1) | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

const KINDS: Record<FaultVerb, FaultKind[]> = {
  put: ['fail', 'lost', 'delay'],
  get: ['fail', 'short', 'wrong', 'delay'],
  stat: ['fail', 'delay'],
  list: ['fail', 'cut', 'delay'],
  delete: ['fail', 'lost', 'delay'],
};

/** Some kinds of faults of some verbs, each at a rate up to `most`, as the seed says. */
export function ratesOf(seed: number, most: number): FaultOptions['rates'] {
  const random = chance(seed);
  const rates: Partial<Record<FaultVerb, Partial<Record<FaultKind, number>>>> = {};
  for (const [verb, kinds] of Object.entries(KINDS) as [FaultVerb, FaultKind[]][]) {
    rates[verb] = {};
    for (const kind of kinds) {
      if (random() < 0.4) continue;
      rates[verb][kind] = kind === 'delay' ? random() * 0.05 : random() ** 2 * most;
    }
  }
  return rates;
}

export interface Faulty {
  store: Store;
  faults: FaultStore;
}

/** A store that misbehaves as the seed says; with `retry` behind the wrapper that helps, which waits no real time. */
export function faultyStore(inner: Store, seed: number, most: number, retry: boolean): Faulty {
  const faults = new FaultStore(inner, { seed, rates: ratesOf(seed, most) });
  let time = 0;
  const wait = async (ms: number) => {
    time += ms;
    await new Promise((resolve) => setImmediate(resolve));
  };
  const store = retry ? new RetryStore(faults, { limitMs: 20_000, wait, now: () => time }) : faults;
  return { store, faults };
}

export async function cloneStore(store: Store): Promise<MemoryStore> {
  const clone = new MemoryStore();
  for await (const { key } of store.list('')) await clone.put(key, await store.get(key));
  return clone;
}

/** SHA-256 of each volume's tar. */
export async function tarsOf(
  repository: Repository,
  name: SnapshotName,
  pool: FramePool,
): Promise<Record<string, string>> {
  const tars: Record<string, string> = {};
  for (const volume of (await repository.manifest(name)).volumes) {
    const hash = createHash('sha256');
    for await (const bytes of readTar(volume.index, { store: repository.store, pool })) hash.update(bytes);
    tars[volume.name] = hash.digest('hex');
  }
  return tars;
}

export async function verifyAll(
  env: JobEnvironment,
  store: Store,
): Promise<VerifyResult & { names: SnapshotName[] }> {
  const repository = await Repository.open(store);
  const names = await repository.snapshotNames();
  return { ...(await new VerifyJob(env, repository, { quick: false }).run(names)), names };
}

export { createFramePool };
