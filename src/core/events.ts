/**
 * What jobs tell while they work: text, JSON lines, progress bars, later metrics and notifications render the same
 * events. A summary or error ends each command.
 */
export type Event =
  | { event: 'repository-created'; repository: string }
  | { event: 'helper-image'; image: string; origin: string }
  | { event: 'source'; source: string; volumes: string[] }
  | { event: 'left-out'; source: string; type: string; destination: string; hint: string }
  /** `of`: entries of the volume, where fewer are worked on. */
  | { event: 'volume-start'; volume: string; action: string; entries?: number; of?: number; bytes?: number }
  /** `done` and `total` in bytes; total is missing where it cannot be known. */
  | { event: 'progress'; volume: string; action: string; done: number; total?: number }
  | { event: 'volume-done'; volume: string; action: string; bytes: number }
  | { event: 'warning'; message: string; volume?: string; path?: string }
  | { event: 'info'; message: string }
  /** A line that a handler, hook or check printed. */
  | { event: 'log'; stream: 'stdout' | 'stderr'; text: string };

/** Takes events; must not throw. */
export type EventSink = (event: Event) => void;
