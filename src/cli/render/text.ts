import { styleText } from 'node:util';
import { printableText } from '../../core/bytes.ts';
import type { Event } from '../../core/events.ts';
import { formatBytes, formatDuration, plural } from '../../core/units.ts';
import type { Output, OutputOptions } from './output.ts';
import { createProgress, type Progress } from './progress.ts';

const VERBS: Record<string, [during: string, after: string]> = {
  read: ['reading', 'read'],
  'read while in use': ['reading while in use:', 'read'],
  'read again': ['reading again what changed:', 'read'],
  'read the rest': ['reading the rest:', 'read'],
  restore: ['restoring', 'restored'],
  export: ['exporting', 'exported'],
  import: ['importing', 'imported'],
  verify: ['checking', 'checked'],
  copy: ['copying', 'copied'],
  rewrite: ['rewriting', 'rewrote'],
  repair: ['repairing', 'repaired'],
  capture: ['capturing', 'captured'],
};

export interface TextStreams {
  stdout(text: string): void;
  stderr(text: string): void;
}

/** Text for people: what happens on standard error, results on standard output. */
export async function textOutput(streams: TextStreams, options: OutputOptions): Promise<Output> {
  const progress: Progress | undefined = options.progress ? await createProgress() : undefined;
  const paint = (style: 'red' | 'yellow' | 'bold' | 'dim', text: string) =>
    options.color ? styleText(style, text, { validateStream: false }) : text;
  const say = (text: string) => {
    progress?.pause();
    streams.stderr(`${text}\n`);
  };
  const tell = createTeller(say, paint, progress, options);
  /** What a handler prints is a result where it is its standard output. */
  const log = (stream: 'stdout' | 'stderr', text: string) => {
    if (stream === 'stderr' && options.quiet) return;
    progress?.pause();
    streams[stream](`${text.split('\t').map(printableText).join('\t')}\n`);
  };
  return {
    json: false,
    emit: (event) => (event.event === 'log' ? log(event.stream, event.text) : tell(event)),
    line(text) {
      progress?.pause();
      streams.stdout(`${printableText(text)}\n`);
    },
    raw: (text) => streams.stdout(text),
    document() {},
    summary() {},
    failure(error) {
      progress?.stop();
      streams.stderr(`${paint('red', 'error:')} ${printableText(error.message)}\n`);
      if (error.hint !== undefined)
        streams.stderr(`${paint('bold', 'hint:')} ${printableText(error.hint)}\n`);
      if (options.verbose && error.stack) streams.stderr(`${printableLines(error.stack)}\n`);
      if (options.verbose && error.cause instanceof Error)
        streams.stderr(`caused by: ${printableLines(error.cause.stack ?? '')}\n`);
    },
    close: () => progress?.stop(),
  };
}

/** The same for text of several lines, such as a stack. */
function printableLines(text: string): string {
  return text.split('\n').map(printableText).join('\n');
}

/** Without a terminal a line now and then shows that long work goes on. */
const PLAIN_INTERVAL_MS = 10_000;

function createTeller(
  say: (text: string) => void,
  paint: (style: 'yellow' | 'dim', text: string) => string,
  progress: Progress | undefined,
  options: OutputOptions,
): (event: Event) => void {
  let started = 0;
  let lastPlain = 0;
  const tell = options.quiet ? () => {} : say;
  return (told) => {
    const event = {
      ...told,
      ...('volume' in told && told.volume ? { volume: printableText(told.volume) } : {}),
    };
    switch (event.event) {
      case 'repository-created':
        return tell(`made a new repository in ${printableText(event.repository)}`);
      case 'helper-image':
        return tell(paint('dim', `helper image: ${event.image} (${event.origin})`));
      case 'source':
        return tell(`${printableText(event.source)}: ${plural(event.volumes.length, 'volume')}`);
      case 'left-out':
        return tell(
          paint('dim', `  left out: ${event.type} at ${printableText(event.destination)} (${event.hint})`),
        );
      case 'volume-start':
        started = performance.now();
        lastPlain = started;
        progress?.start(event.volume, event.action, event.bytes);
        if (!progress) tell(`  ${event.volume}: ${describeStart(event)}`);
        return;
      case 'progress':
        if (progress) progress.update(event.volume, event.done, event.total);
        else if (performance.now() - lastPlain >= PLAIN_INTERVAL_MS) {
          lastPlain = performance.now();
          const total = event.total === undefined ? '' : ` of ${formatBytes(event.total)}`;
          tell(`  ${event.volume}: ${formatBytes(event.done)}${total}`);
        }
        return;
      case 'volume-done': {
        const ms = performance.now() - started;
        progress?.done(event.volume);
        if (event.action.startsWith('read') && event.bytes === 0) return;
        const rate = ms > 0 ? `, ${formatBytes((event.bytes / ms) * 1000)}/s` : '';
        return tell(
          `  ${event.volume}: ${VERBS[event.action]?.[1] ?? 'done'} ${formatBytes(event.bytes)} in ${formatDuration(ms)}${rate}`,
        );
      }
      case 'warning': {
        const place = [event.volume, event.path].filter((part) => part !== undefined).join(': ');
        return say(
          `${paint('yellow', 'warning:')} ${printableText(place === '' ? event.message : `${place}: ${event.message}`)}`,
        );
      }
      case 'info':
        return tell(printableText(event.message));
    }
  };
}

function describeStart(event: Extract<Event, { event: 'volume-start' }>): string {
  if (event.entries === 0 && event.of) return `unchanged, ${plural(event.of, 'file')}`;
  const of =
    event.of === undefined || event.of === event.entries ? '' : ` of ${event.of.toLocaleString('en')}`;
  const entries = event.entries === undefined ? '' : ` ${plural(event.entries, 'file')}${of}`;
  const bytes = event.bytes === undefined ? '' : `, ${formatBytes(event.bytes)}`;
  return `${VERBS[event.action]?.[0] ?? event.action}${entries}${bytes}`;
}
