import type { VolbakError } from '../../core/errors.ts';
import type { Event, EventSink } from '../../core/events.ts';

/** How a command speaks: events while it works, then a result for people or for scripts. */
export interface Output {
  readonly json: boolean;
  emit: EventSink;
  /** A line of the result, for people: on standard output, not shown with --json. */
  line(text: string): void;
  /** As it is, on standard output: the daemon's log. */
  raw(text: string): void;
  /** The one JSON document of a command that shows something. Only with --json. */
  document(value: unknown): void;
  /** The last JSON line of a command that does something. Only with --json. */
  summary(command: string, exit: number, fields: object): void;
  /** How a command failed. */
  failure(error: VolbakError): void;
  /** Clears progress bars. */
  close(): void;
}

export interface OutputOptions {
  quiet: boolean;
  verbose: boolean;
  color: boolean;
  progress: boolean;
}

export type { Event };
