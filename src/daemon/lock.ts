import { randomBytes } from 'node:crypto';
import { link, mkdir, readdir, readFile, rename, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isVolbakError, messageOf, VolbakError } from '../core/errors.ts';
import { processIdentity, processState } from '../core/process-identity.ts';
import { sleep } from '../core/sleep.ts';

/** A daemon writes a beat this often; one of another host (an earlier container) that writes none for so long is dead. */
const BEAT_MS = 3000;
const WATCH_MS = 12_000;

interface Owner {
  owner: string;
  beat: number;
  /** Given back. */
  released?: boolean;
  /** Of a job: which run of a daemon it is, and how that ended. */
  run?: string;
  exit?: number;
}

/** Gives a lock back; with the exit code of what it was held for. */
export type Release = (exit?: number) => Promise<void>;

async function ownerIn(file: string): Promise<Owner | undefined> {
  try {
    return JSON.parse(await readFile(file, 'utf8')) as Owner;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    // Only whole files are ever put there: something else wrote this one.
    return { owner: '', beat: -1 };
  }
}

/** Whether the owner of a lock still lives. Where only its beat can tell, it is watched, without trusting any clock. */
async function lives(file: string, seen: Owner, watchMs: number, signal: AbortSignal): Promise<boolean> {
  if (seen.released) return false;
  const state = processState(seen.owner);
  if (state !== 'elsewhere') return state === 'alive';
  await sleep(watchMs, signal);
  const now = await ownerIn(file);
  return now !== undefined && (now.owner !== seen.owner || now.beat !== seen.beat);
}

/**
 * Takes the lock of a state directory, against a second daemon. Raises CONFIG where another one holds it, or the directory
 * cannot be written to.
 */
export async function takeLock(directory: string, signal: AbortSignal, watchMs = WATCH_MS): Promise<Release> {
  const refusal = (owner: string) =>
    new VolbakError('CONFIG', `another daemon runs with this state directory: ${owner}`, {
      hint: 'One daemon is enough for all jobs; another one needs an XDG_STATE_HOME of its own.',
    });
  try {
    return await takeNumbered(directory, {}, signal, watchMs, refusal);
  } catch (error) {
    if (isVolbakError(error) || signal.aborted) throw error;
    throw new VolbakError('CONFIG', `the state directory cannot be written to: ${messageOf(error)}`, {
      hint: 'Make room there, or give XDG_STATE_HOME another one: what ran must be remembered.',
      cause: error,
    });
  }
}

const directoryOf = (stateDirectory: string, job: string) => join(stateDirectory, 'daemon', 'runs', job);

/**
 * Takes the lock of a job, against a second run of it; `run` is which run of a daemon it is. Raises JOB_BUSY where it runs
 * already.
 */
export function lockJob(
  stateDirectory: string,
  { job, run }: { job: string; run?: string | undefined },
  signal: AbortSignal,
  watchMs = WATCH_MS,
): Promise<Release> {
  const note = run === undefined ? {} : { run };
  return takeNumbered(directoryOf(stateDirectory, job), note, signal, watchMs, (owner) => {
    return new VolbakError('JOB_BUSY', `${job} runs already: ${owner}`, {
      hint: 'It does not run twice at once; run it again when that is done.',
    });
  });
}

/** The exit code of a run of a job that ended when its daemon was no more; undefined where it did not, or is not known. */
export async function exitOfRun(
  stateDirectory: string,
  job: string,
  run: string,
): Promise<number | undefined> {
  const directory = directoryOf(stateDirectory, job);
  const last = await highest(directory).catch(() => 0);
  const note = last === 0 ? undefined : await ownerIn(nameOf(directory, last));
  return note?.run === run ? note.exit : undefined;
}

/**
 * Takes a lock in a directory of its own. Resolves with how to give it back.
 *
 * Locks are numbered, and only the highest counts: who finds it dead makes the next. Nobody removes a lock that counts, so
 * none can vanish between a look at it and what is done then.
 */
async function takeNumbered(
  directory: string,
  note: Pick<Owner, 'run'>,
  signal: AbortSignal,
  watchMs: number,
  refusal: (owner: string) => VolbakError,
): Promise<Release> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const own: Owner = { owner: processIdentity(), beat: 0, ...note };
  const draft = join(directory, `draft.${randomBytes(6).toString('hex')}`);
  let written: Promise<void> = Promise.resolve();
  // One after another: they share a draft.
  const put = (file: string) => {
    written = written
      .catch(() => {})
      .then(() => writeFile(draft, JSON.stringify(own), { mode: 0o600 }))
      .then(() => rename(draft, file));
    return written;
  };
  const file = await takeNext(directory, draft, own, watchMs, signal, refusal);
  const beat = setInterval(() => {
    own.beat++;
    // On a full disk the process itself still tells, on this host, that it lives.
    void put(file).catch(() => unlink(draft).catch(() => {}));
  }, BEAT_MS);
  beat.unref();
  return async (exit) => {
    clearInterval(beat);
    Object.assign(own, { released: true }, exit === undefined ? {} : { exit });
    await put(file).catch(() => {});
  };
}

async function takeNext(
  directory: string,
  draft: string,
  own: Owner,
  watchMs: number,
  signal: AbortSignal,
  refusal: (owner: string) => VolbakError,
): Promise<string> {
  await writeFile(draft, JSON.stringify(own), { mode: 0o600 });
  try {
    for (;;) {
      const last = await highest(directory);
      const seen = last === 0 ? undefined : await ownerIn(nameOf(directory, last));
      if (seen && (await lives(nameOf(directory, last), seen, watchMs, signal))) throw refusal(seen.owner);
      const file = nameOf(directory, last + 1);
      if (!(await linked(draft, file))) continue;
      if ((await highest(directory)) === last + 1) {
        await removeBelow(directory, last + 1);
        return file;
      }
      await unlink(file);
    }
  } finally {
    await unlink(draft).catch(() => {});
  }
}

const nameOf = (directory: string, number: number) => join(directory, `lock.${number}`);

async function numbers(directory: string): Promise<number[]> {
  const names = await readdir(directory);
  return names.flatMap((name) => (/^lock\.\d+$/.test(name) ? [Number(name.slice(5))] : []));
}

async function highest(directory: string): Promise<number> {
  return Math.max(0, ...(await numbers(directory)));
}

async function removeBelow(directory: string, number: number): Promise<void> {
  const old = (await numbers(directory)).filter((other) => other < number);
  await Promise.all(old.map((other) => unlink(nameOf(directory, other)).catch(() => {})));
}

async function linked(draft: string, file: string): Promise<boolean> {
  try {
    await link(draft, file);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}
