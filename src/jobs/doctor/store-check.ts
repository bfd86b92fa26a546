import { randomBytes } from 'node:crypto';
import type { Clock } from '../../core/clock.ts';
import { isVolbakError, messageOf, toVolbakError, VolbakError } from '../../core/errors.ts';
import { formatDuration } from '../../core/units.ts';
import type { Store } from '../../store/store.ts';
import type { Check } from './doctor.ts';

/** Clocks further apart than this make a pruner and a writer disagree about what is young. */
const CLOCK_LIMIT_MS = 60_000;
/** Puts of one name at the same moment, of which one may win. */
const RIVALS = 6;

type Verdict = Omit<Check, 'name'>;

const ok = (detail: string): Verdict => ({ state: 'ok', detail });
const warning = (detail: string, hint: string): Verdict => ({ state: 'warning', detail, hint });
const failed = (detail: string, hint: string): Verdict => ({ state: 'failed', detail, hint, exitCode: 31 });

/** Tries on a store all that volbak needs of one, with small objects of its own that it removes again. */
export class StoreCheck {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #signal: AbortSignal;
  readonly #prefix = `probe-${randomBytes(8).toString('hex')}`;
  readonly #keys = new Set<string>();

  constructor(store: Store, clock: Clock, signal: AbortSignal) {
    this.#store = store;
    this.#clock = clock;
    this.#signal = signal;
  }

  /** One verdict a need. Where nothing can be written, that is the only one. */
  async run(): Promise<Check[]> {
    const checks: Check[] = [];
    const check = async (name: string, probe: () => Promise<Verdict>) => {
      this.#signal.throwIfAborted();
      const verdict = await probe().catch((error: unknown) => this.#verdictOf(error));
      checks.push({ name: `store ${name}`, ...verdict });
      return verdict.state !== 'failed';
    };
    try {
      if (!(await check('put', () => this.#put()))) return checks;
      await check('range', () => this.#range());
      await check('list', () => this.#list());
      await check('clock', () => this.#compareClocks());
      await check('replace', () => this.#replace());
      await check('create', () => this.#create());
      await check('delete', () => this.#delete());
    } finally {
      for (const key of this.#keys) await this.#store.delete(key).catch(() => {});
    }
    return checks;
  }

  #verdictOf(error: unknown): Verdict {
    this.#signal.throwIfAborted();
    const { message, hint, exitCode } = toVolbakError(error);
    return { state: 'failed', detail: message, exitCode, ...(hint === undefined ? {} : { hint }) };
  }

  #key(part: string): string {
    const key = `${this.#prefix}-${part}`;
    this.#keys.add(key);
    return key;
  }

  async #put(): Promise<Verdict> {
    const key = this.#key('put');
    const bytes = randomBytes(1000);
    try {
      await this.#store.put(key, bytes, { signal: this.#signal });
    } catch (error) {
      if (!isVolbakError(error, 'STORE_DENIED')) throw error;
      throw new VolbakError('STORE_DENIED', error.message, {
        hint: `${error.hint ? `${error.hint} ` : ''}As it is, one can restore from here, but not back up to it.`,
        cause: error,
      });
    }
    const back = await this.#store.get(key, { signal: this.#signal });
    if (back.equals(bytes)) return ok('an object comes back as it was put');
    return failed('an object did not come back as it was put', 'Do not use this store.');
  }

  async #range(): Promise<Verdict> {
    const key = this.#key('put');
    const whole = await this.#store.get(key, { signal: this.#signal });
    const range = { offset: 100, length: 300 };
    const part = await this.#store.get(key, { range, signal: this.#signal });
    if (part.equals(whole.subarray(100, 400))) return ok('parts of objects can be read');
    return failed('a range gave other bytes than those asked for', 'Do not use this store.');
  }

  async #list(): Promise<Verdict> {
    const key = this.#key('list');
    await this.#store.put(key, Buffer.from('listed'), { signal: this.#signal });
    for await (const object of this.#store.list(this.#prefix, { signal: this.#signal }))
      if (object.key === key) return ok('an object is listed as soon as it was put');
    return failed(
      'an object that was just put is not listed',
      'volbak would take segments for missing: backups fail at their end, or a prune deletes too much.',
    );
  }

  async #compareClocks(): Promise<Verdict> {
    const before = this.#clock.now().getTime();
    await this.#store.put(this.#key('clock'), Buffer.from('now'), { signal: this.#signal });
    const after = this.#clock.now().getTime();
    const { modified } = await this.#store.stat(this.#key('clock'), { signal: this.#signal });
    const theirs = modified.getTime();
    const apart = theirs < before ? before - theirs : Math.max(0, theirs - after);
    if (apart <= CLOCK_LIMIT_MS) return ok('store and volbak agree on the time');
    return warning(
      `the store's clock is ${formatDuration(apart)} ${theirs < before ? 'behind' : 'ahead of'} ours`,
      'Run NTP on both: snapshots are named by our clock, and a prune judges age by that of the store.',
    );
  }

  async #replace(): Promise<Verdict> {
    const key = this.#key('replace');
    await this.#store.put(key, Buffer.from('the first one'), { signal: this.#signal });
    try {
      await this.#store.put(key, Buffer.from('second'), { signal: this.#signal });
    } catch (error) {
      if (!isVolbakError(error, 'STORE_DENIED') && !isVolbakError(error, 'STORE_EXISTS')) throw error;
      return warning(
        'objects cannot be replaced',
        'Backup and restore do without. A prune cannot rewrite mostly dead segments.',
      );
    }
    const back = await this.#store.get(key, { signal: this.#signal });
    if (back.toString() === 'second') return ok('objects can be replaced');
    return failed('a replaced object gave its old bytes', 'A store that answers from a cache is not fit.');
  }

  /** Once after the other, then several at once: a store that only looks before it writes lets more than one win. */
  async #create(): Promise<Verdict> {
    const create = (key: string, body: string) =>
      this.#store.put(key, Buffer.from(body), { ifAbsent: true, signal: this.#signal }).then(
        () => true,
        (error: unknown) => {
          if (isVolbakError(error, 'STORE_EXISTS')) return false;
          throw error;
        },
      );
    const meaning = 'Do not run `volbak init` or a first backup twice at the same moment; all else is safe.';
    const key = this.#key('create');
    const [first, second] = [await create(key, 'first'), await create(key, 'second')];
    if (!first) return failed('a new object was refused as if it were there already', meaning);
    if (second) return warning('"only if absent" is not honoured', meaning);
    const contested = this.#key('contest');
    const results = await Promise.allSettled(
      Array.from({ length: RIVALS }, (_, i) => create(contested, String(i))),
    );
    const broken = results.find((result) => result.status === 'rejected');
    if (broken) throw broken.reason;
    const winners = results.filter((r) => r.status === 'fulfilled' && r.value).length;
    if (winners === 1) return ok('of several writers of a new object exactly one wins');
    return warning(`"only if absent" let ${winners} of ${RIVALS} writers win at once`, meaning);
  }

  async #delete(): Promise<Verdict> {
    const key = this.#key('put');
    try {
      await this.#store.delete(key, { signal: this.#signal });
    } catch (error) {
      if (!isVolbakError(error, 'STORE_DENIED')) throw error;
      return warning(
        `objects cannot be deleted: ${messageOf(error)}`,
        `Backup and restore do without (append-only). Forget and prune need it, and ${this.#prefix}-* stays.`,
      );
    }
    const left = await this.#store.stat(key, { signal: this.#signal }).catch((error: unknown) => {
      if (isVolbakError(error, 'STORE_NOT_FOUND')) return undefined;
      throw error;
    });
    if (!left) return ok('objects can be deleted');
    return warning('a deleted object is still there', 'Forget and prune would not free any space.');
  }
}
