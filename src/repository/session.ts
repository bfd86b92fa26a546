import { randomBytes } from 'node:crypto';
import { VolbakError } from '../core/errors.ts';
import type { Store } from '../store/store.ts';
import { readDoomed } from './doomed.ts';
import { manifestKey, parseSegmentKey, SEGMENTS, SESSIONS, type SnapshotName } from './keys.ts';

/** How often a session shows that it lives. */
export const HEARTBEAT_MS = 5 * 60_000;
/** A session whose last heartbeat is older gives up: a pruner may take it for dead. */
export const STALE_MS = 30 * 60_000;

export interface SessionOptions {
  store: Store;
  kind: 'backup' | 'restore' | 'export' | 'copy' | 'drill' | 'prune' | 'repair';
  /** Snapshots whose frames may be used. */
  uses: readonly SnapshotName[];
  /** Wall clock in milliseconds: unlike the monotonic one it goes on while a laptop sleeps. */
  now(): number;
}

/** A writer or long reader at work, visible to prune (format.md, "Deleting without locks"). */
export class Session {
  readonly id: string;
  readonly #options: SessionOptions;
  readonly #keys: string[] = [];
  #beats = 0;
  #lastBeat: number | undefined;
  /** Set once a heartbeat came too late: a pruner may have taken this for dead meanwhile, whatever it shows now. */
  #lost = false;
  #timer: NodeJS.Timeout | undefined;

  private constructor(options: SessionOptions) {
    this.#options = options;
    this.id = randomBytes(8).toString('hex');
  }

  /** Puts the session, then checks that the snapshots it names still stand. */
  static async begin(options: SessionOptions): Promise<Session> {
    const session = new Session(options);
    await session.#beat();
    try {
      for (const { source, id } of options.uses) await options.store.stat(manifestKey(source, id));
    } catch (error) {
      await session.end();
      throw error;
    }
    session.#timer = setInterval(() => void session.#beat().catch(() => {}), HEARTBEAT_MS);
    session.#timer.unref();
    return session;
  }

  async #beat(): Promise<void> {
    const { store, kind, uses, now } = this.#options;
    const time = now();
    if (this.#isLate(time)) return;
    // Counted here: the last one may still be on its way.
    const key = `${SESSIONS}${this.id}/${String(this.#beats++).padStart(6, '0')}.json`;
    const body = { id: this.id, kind, time: new Date(time).toISOString(), uses: uses.map((s) => s.id) };
    await store.put(key, Buffer.from(JSON.stringify(body)));
    this.#keys.push(key);
    this.#lastBeat = time;
  }

  #isLate(time: number): boolean {
    if (this.#lastBeat !== undefined && time - this.#lastBeat > STALE_MS) this.#lost = true;
    return this.#lost;
  }

  /** Raises REPOSITORY_BUSY where the session may have been taken for dead. */
  async check(): Promise<void> {
    const { store, now } = this.#options;
    const standing = new Set<string>();
    for await (const { key } of store.list(`${SESSIONS}${this.id}/`)) standing.add(key);
    // The first one: a later heartbeat may have come after a pruner removed the others.
    if (this.#isLate(now()) || !standing.has(this.#keys[0] as string)) {
      throw new VolbakError(
        'REPOSITORY_BUSY',
        `this run slept too long: a prune of ${store.label} may have taken its frames`,
        {
          hint: 'Run it again.',
        },
      );
    }
  }

  /** Raises REPOSITORY_BUSY unless every segment stands and none is about to be deleted. */
  async checkSegments(needed: ReadonlySet<string>): Promise<void> {
    const { store } = this.#options;
    await this.check();
    const doomed = new Set((await readDoomed(store)).flatMap((note) => note.segments));
    const present = await presentSegments(store);
    for (const name of needed) {
      if (!present.has(name) || doomed.has(name)) {
        throw new VolbakError(
          'REPOSITORY_BUSY',
          `segment ${name} was pruned from ${store.label} while it was in use`,
          {
            hint: 'Run it again.',
          },
        );
      }
    }
  }

  /** Takes the session back. A store that forbids deletes lets it expire. */
  async end(): Promise<void> {
    clearInterval(this.#timer);
    for (const key of this.#keys) await this.#options.store.delete(key).catch(() => {});
  }
}

/** Names of all segments in the store. */
export async function presentSegments(store: Store): Promise<Set<string>> {
  const present = new Set<string>();
  for await (const { key } of store.list(SEGMENTS)) {
    const name = parseSegmentKey(key);
    if (name) present.add(name);
  }
  return present;
}

/**
 * Names of the segments whose frames a new snapshot may take: those in the store that no prune is about to delete. (A note
 * is listed first: one that comes later is seen by the commit.)
 */
export async function usableSegments(store: Store): Promise<Set<string>> {
  const doomed = await readDoomed(store);
  const usable = await presentSegments(store);
  for (const { segments } of doomed) for (const name of segments) usable.delete(name);
  return usable;
}
