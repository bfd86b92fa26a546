import { messageOf } from '../core/errors.ts';
import { sleep } from '../core/sleep.ts';
import type { Channel, News, Sender } from './types.ts';

const TIMEOUT_MS = 15_000;
/** Before each further try. */
const DELAYS_MS = [1000, 10_000, 60_000, 300_000];

const send: Sender = async (channel, news, signal) => {
  if (channel.kind === 'email') return (await import('./email.ts')).sendMail(channel, news);
  return (await import('./http.ts')).sendHttp(channel, news, signal);
};

/**
 * Tells news, and tries again for some minutes where that fails. Never raises: what did not get through is given to
 * `onFailure`, with no secret in it. The signal ends the tries.
 */
export async function notify(
  channel: Channel,
  news: News,
  signal: AbortSignal,
  onFailure: (message: string) => void,
  delays: readonly number[] = DELAYS_MS,
): Promise<void> {
  for (let tries = 0; ; tries++) {
    try {
      return await send(channel, news, AbortSignal.timeout(TIMEOUT_MS));
    } catch (error) {
      const delay = delays[tries];
      if (delay === undefined || signal.aborted) return onFailure(messageOf(error));
      await sleep(delay, signal).catch(() => {});
    }
  }
}
