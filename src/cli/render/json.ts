import type { Output } from './output.ts';
import type { TextStreams } from './text.ts';

/** What a terminal may obey, and lines that are none, as escapes: the same JSON for whoever parses it. */
function escaped(json: string): string {
  return json.replace(
    /[\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]/g,
    (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/**
 * JSON on standard output: a line for each event of a command that does something (progress twice a second), one document
 * from a command that shows something (`showing`; its events go to standard error).
 */
export function jsonOutput(streams: TextStreams, showing: boolean): Output {
  const write = streams.stdout;
  let lastProgress = 0;
  const put = (value: object) => write(`${escaped(JSON.stringify(value))}\n`);
  return {
    json: true,
    emit(event) {
      if (event.event === 'progress') {
        const now = performance.now();
        if (now - lastProgress < 500) return;
        lastProgress = now;
      }
      if (showing) streams.stderr(`${escaped(JSON.stringify(event))}\n`);
      else put(event);
    },
    line() {},
    raw: write,
    document: (value) => write(`${escaped(JSON.stringify(value, null, 2))}\n`),
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
