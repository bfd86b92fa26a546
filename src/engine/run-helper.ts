import { VolbakError } from '../core/errors.ts';
import type { EngineConnection } from './connect.ts';
import { type Helper, type HelperSpec, startHelper } from './helper.ts';

/** Complaints kept of one helper; a tree full of unreadable files must not fill the memory. */
const MAX_STDERR = 1024 * 1024;

/** Gathers what a helper complains about, up to a bound. */
export class StderrLog {
  #text = '';
  #cut = false;

  add(bytes: Buffer): void {
    if (this.#text.length < MAX_STDERR) this.#text += bytes.toString('latin1');
    else this.#cut = true;
  }

  /** Whole lines, as bytes. */
  get lines(): string[] {
    return this.#text.split('\n').filter((line) => line !== '');
  }

  /** True where there was more than is kept. */
  get cut(): boolean {
    return this.#cut;
  }
}

export interface HelperRun<T> {
  exitCode: number;
  stderr: StderrLog;
  result: T;
}

/** A helper on its way, which nobody waits for yet: it must be used or let go. */
export interface StartedHelper {
  helper: Promise<Helper>;
  stderr: StderrLog;
}

/** Starts a helper before it is needed. What fails is raised by `useHelper`. */
export function beginHelper(engine: EngineConnection, spec: HelperSpec): StartedHelper {
  const stderr = new StderrLog();
  const helper = startHelper(engine, spec, (bytes) => stderr.add(bytes));
  helper.catch(() => {});
  return { helper, stderr };
}

/** Ends and removes a helper that is not needed after all. Safe to call after `useHelper`. */
export async function letGo({ helper }: StartedHelper): Promise<void> {
  const started = await helper.catch(() => undefined);
  await started?.remove();
}

/**
 * Starts a helper, lets `use` work with it and with what it has complained about by then, waits for its end and removes it, on
 * every way out. An abort removes the helper at once. Raises what `use` raises; judging the exit code is the caller's.
 */
export async function runHelper<T>(
  engine: EngineConnection,
  spec: HelperSpec,
  use: (helper: Helper, stderr: StderrLog) => Promise<T>,
  signal?: AbortSignal,
): Promise<HelperRun<T>> {
  signal?.throwIfAborted();
  return useHelper(beginHelper(engine, spec), use, signal);
}

/** As `runHelper`, with a helper that was started before. */
export async function useHelper<T>(
  started: StartedHelper,
  use: (helper: Helper, stderr: StderrLog) => Promise<T>,
  signal?: AbortSignal,
): Promise<HelperRun<T>> {
  const { stderr } = started;
  const helper = await started.helper;
  const onAbort = () => void helper.remove().catch(() => {});
  signal?.addEventListener('abort', onAbort);
  try {
    signal?.throwIfAborted();
    const result = await use(helper, stderr);
    const exitCode = await helper.exit;
    signal?.throwIfAborted();
    return { exitCode, stderr, result };
  } catch (error) {
    signal?.throwIfAborted();
    throw error;
  } finally {
    signal?.removeEventListener('abort', onAbort);
    await helper.remove().catch((error) => {
      // Why it was ended says more than that it does not end yet.
      signal?.throwIfAborted();
      throw error;
    });
  }
}

/** Output that a short script may have at the most. */
const MAX_OUTPUT = 16 * 1024 * 1024;

/** All of a helper's output, for short scripts. */
export async function collectOutput(helper: Helper): Promise<Buffer> {
  const parts: Buffer[] = [];
  let length = 0;
  for await (const part of helper.stdout) {
    length += part.length;
    if (length > MAX_OUTPUT)
      throw new VolbakError('HELPER_FAILED', 'a helper printed far more than it should');
    parts.push(Buffer.from(part));
  }
  return Buffer.concat(parts);
}
