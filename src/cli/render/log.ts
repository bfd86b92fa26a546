import { printableText } from '../../core/bytes.ts';
import type { Log } from '../../daemon/log.ts';

/** The daemon's log as JSON lines, for machines. */
export async function jsonLog(write: (text: string) => void): Promise<Log> {
  const { pino, stdTimeFunctions } = await import('pino');
  const logger = pino(
    { base: null, timestamp: stdTimeFunctions.isoTime, formatters: { level: (level) => ({ level }) } },
    { write },
  );
  return {
    info: (message, fields = {}) => logger.info(fields, message),
    warn: (message, fields = {}) => logger.warn(fields, message),
    error: (message, fields = {}) => logger.error(fields, message),
  };
}

/** The same as lines for people: what stands in fields is for machines, but for why and how long. */
export function textLog(write: (text: string) => void, now: () => Date): Log {
  const put =
    (level: string) =>
    (message: string, fields: object = {}) => {
      const { seconds, why, attempt } = fields as { seconds?: number; why?: string; attempt?: number };
      const more = [
        seconds === undefined ? '' : `${seconds} s`,
        why === undefined || why === 'schedule' ? '' : why,
        attempt === undefined || attempt === 1 ? '' : `attempt ${attempt}`,
      ].filter((part) => part !== '');
      const behind = more.length === 0 ? '' : ` (${more.join(', ')})`;
      write(`${now().toISOString()} ${level} ${printableText(message)}${behind}\n`);
    };
  return { info: put('info '), warn: put('warn '), error: put('error') };
}
