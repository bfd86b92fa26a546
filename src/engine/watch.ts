import type Dockerode from 'dockerode';
import { LineSplitter } from '../core/lines.ts';
import { sleep } from '../core/sleep.ts';
import type { EngineConnection } from './connect.ts';
import { engineError } from './helper.ts';
import { HELPER_LABEL } from './labels.ts';

/** A container as labels need it. */
export interface ListedContainer {
  name: string;
  labels: Record<string, string>;
  /** Names of the volumes that it mounts. */
  volumes: string[];
  /** Whether it has bind mounts. */
  binds: boolean;
}

export interface Watcher {
  connect(signal: AbortSignal): Promise<EngineConnection>;
  /** All containers, first and whenever some were made, renamed or removed. */
  seen(engine: EngineConnection, containers: ListedContainer[]): Promise<void>;
  /** The engine does not answer, or went; it is tried again until the signal. */
  lost(error: unknown): void;
  signal: AbortSignal;
}

/** Containers come in groups: so long is waited for more of them. */
const SETTLE_MS = 400;
/** Even if no event came: one may have got lost, and a connection that died silently is noticed. */
const AGAIN_MS = 300_000;
const ANSWER_MS = 30_000;
const FIRST_DELAY_MS = 1000;
const MAX_DELAY_MS = 30_000;

/** All containers, running or not, but for helpers of ours. Raises ENGINE_UNREACHABLE. */
export async function listContainers(
  { docker }: EngineConnection,
  signal?: AbortSignal,
): Promise<ListedContainer[]> {
  const late = AbortSignal.timeout(ANSWER_MS);
  const abortSignal = signal ? AbortSignal.any([signal, late]) : late;
  let found: Dockerode.ContainerInfo[];
  try {
    found = await docker.listContainers({ all: true, abortSignal });
  } catch (error) {
    throw engineError(error, 'cannot list containers');
  }
  return found
    .filter(({ Labels }) => Labels?.[HELPER_LABEL] === undefined)
    .map(describe)
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

function describe({ Id, Names, Labels, Mounts }: Dockerode.ContainerInfo): ListedContainer {
  const mounts = Mounts ?? [];
  const volumes = mounts.flatMap(({ Type, Name }) => (Type === 'volume' && Name ? [Name] : []));
  return {
    // A container that others link to goes by several names; its own has one slash.
    name: (Names.find((name) => name.lastIndexOf('/') === 0) ?? Names[0] ?? Id).replace(/^\//, ''),
    labels: Labels ?? {},
    volumes: [...new Set(volumes)].sort(),
    binds: mounts.some(({ Type }) => Type === 'bind'),
  };
}

/**
 * Follows which containers an engine has, by its events; after a connection broke, all are listed anew. Resolves when the
 * signal ends it; raises nothing.
 */
export async function watchContainers(watcher: Watcher): Promise<void> {
  const { signal } = watcher;
  let delay = FIRST_DELAY_MS;
  while (!signal.aborted) {
    try {
      const engine = await watcher.connect(signal);
      await follow(engine, watcher, () => {
        delay = FIRST_DELAY_MS;
      });
    } catch (error) {
      if (!signal.aborted) watcher.lost(error);
    }
    await sleep(delay, signal).catch(() => {});
    delay = Math.min(2 * delay, MAX_DELAY_MS);
  }
}

/** Until the connection breaks, which it raises. */
async function follow(engine: EngineConnection, watcher: Watcher, onAnswer: () => void): Promise<void> {
  const own = new AbortController();
  const signal = AbortSignal.any([watcher.signal, own.signal]);
  // Before the first list: what is made between the two must not be missed.
  const events = await openEvents(engine, signal);
  try {
    while (!signal.aborted) {
      events.changed = false;
      const containers = await listContainers(engine, signal);
      await watcher.seen(engine, containers);
      onAnswer();
      await events.next(AGAIN_MS);
      await sleep(SETTLE_MS, signal);
    }
  } finally {
    own.abort();
  }
}

interface Events {
  changed: boolean;
  /** Resolves when something changed, or after some time. Raises where the stream ended. */
  next(ms: number): Promise<void>;
}

async function openEvents(engine: EngineConnection, signal: AbortSignal): Promise<Events> {
  const stream = await engine.docker
    .getEvents({
      filters: { type: ['container'], event: ['create', 'destroy', 'rename'] },
      abortSignal: signal,
    })
    .catch((error: unknown) => {
      throw engineError(error, 'cannot follow the events of the engine');
    });
  let broken: Error | undefined;
  let wake = () => {};
  const events: Events = {
    changed: false,
    async next(ms) {
      if (!events.changed && !broken)
        await new Promise<void>((resolve) => {
          const timer = setTimeout(resolve, ms);
          wake = () => {
            clearTimeout(timer);
            resolve();
          };
        });
      if (broken) throw engineError(broken, 'the events of the engine ended');
    },
  };
  const ended = (error?: Error) => {
    broken ??= error ?? new Error('it closed the connection');
    wake();
  };
  const lines = new LineSplitter((line) => {
    if (isOurs(line)) return;
    events.changed = true;
    wake();
  });
  stream.on('data', (bytes: Buffer) => lines.push(bytes));
  stream.on('error', ended);
  for (const end of ['end', 'close', 'aborted']) stream.on(end, () => ended());
  return events;
}

/** Helpers of ours come and go with every run, and have no labels that matter. */
function isOurs(line: string): boolean {
  try {
    const { Actor } = JSON.parse(line) as { Actor?: { Attributes?: Record<string, string> } };
    return Actor?.Attributes?.[HELPER_LABEL] !== undefined;
  } catch {
    return false;
  }
}
