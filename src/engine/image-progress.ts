import type { Readable } from 'node:stream';
import { messageOf, VolbakError } from '../core/errors.ts';

/** One line of what the engine tells while it pulls, loads or imports an image. */
export interface ProgressLine {
  status?: string;
  stream?: string;
  error?: string;
  errorDetail?: { message?: string };
}

export interface StallOptions {
  signal?: AbortSignal | undefined;
  /** The call is given up after so long without any progress. */
  stallMs: number;
}

/**
 * Runs an engine call that answers with JSON lines and resolves once the engine is done. The engine answers 200
 * before it begins, so an error may come as a line; and it may hang for minutes at a registry that does not answer.
 */
export async function followEngineCall(
  call: (signal: AbortSignal, progress: () => void) => Promise<NodeJS.ReadableStream>,
  options: StallOptions,
): Promise<void> {
  options.signal?.throwIfAborted();
  const stall = new AbortController();
  const giveUp = () => stall.abort(new Error(`no progress for ${options.stallMs / 1000} s`));
  const timer = setTimeout(giveUp, options.stallMs);
  const progress = () => timer.refresh();
  const signal = options.signal ? AbortSignal.any([options.signal, stall.signal]) : stall.signal;
  try {
    const answer = (await call(signal, progress)) as Readable;
    for await (const line of jsonLines(answer)) {
      progress();
      const failure = line.errorDetail?.message ?? line.error;
      if (failure) throw new Error(failure);
    }
  } catch (error) {
    options.signal?.throwIfAborted();
    throw stall.signal.aborted ? stall.signal.reason : error;
  } finally {
    clearTimeout(timer);
  }
}

/** Splits what the engine sends into its JSON values, one a line; a line that is no JSON is an error. */
export async function* jsonLines(chunks: AsyncIterable<Uint8Array | string>): AsyncGenerator<ProgressLine> {
  let rest = '';
  const decoder = new TextDecoder();
  for await (const chunk of chunks) {
    rest += typeof chunk === 'string' ? chunk : decoder.decode(chunk, { stream: true });
    const lines = rest.split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) if (line.trim() !== '') yield JSON.parse(line) as ProgressLine;
  }
  if (rest.trim() !== '') yield JSON.parse(rest) as ProgressLine;
}

/** The engine's own words out of an error of dockerode, without its `(HTTP code …)`. */
export function engineMessage(error: unknown): string {
  const answer = (error as { json?: unknown } | null)?.json;
  const message = (answer as { message?: unknown } | null | undefined)?.message;
  if (typeof message === 'string' && message !== '') return message.trim();
  return messageOf(error)
    .replace(/^\(HTTP code \d+\) [^-]*- /, '')
    .trim();
}

/** True where the engine answered 404. */
export function isNotFound(error: unknown): boolean {
  return (error as { statusCode?: unknown } | null)?.statusCode === 404;
}

export function helperError(message: string, hint: string, cause?: unknown): VolbakError {
  return new VolbakError('HELPER_FAILED', message, { hint, ...(cause !== undefined && { cause }) });
}
