import type { Output } from './output.ts';
import type { TextStreams } from './text.ts';

/**
 * JSON on standard output: a line for each event of a command that does something (progress twice a second), one document
 * from a command that shows something (`showing`; its events go to standard error).
 */
export function jsonOutput(streams: TextStreams, showing: boolean): Output {
  const write = streams.stdout;
  let lastProgress = 0;
  const put = (value: object) => write(`${JSON.stringify(value)}\n`);
  return {
    json: true,
    emit(event) {
      if (event.event === 'progress') {
        const now = performance.now();
        if (now - lastProgress < 500) return;
        lastProgress = now;
      }
      if (showing) streams.stderr(`${JSON.stringify(event)}\n`);
      else put(event);
    },
    line() {},
    document: (value) => write(`${JSON.stringify(value, null, 2)}\n`),
    summary: (command, exit, fields) => put({ event: 'summary', command, exit, ...fields }),
    failure: (error) =>
      put({
        event: 'error',
        code: error.code,
        message: error.message,
        ...(error.hint === undefined ? {} : { hint: error.hint }),
        exit: error.exitCode,
      }),
    close() {},
  };
}
