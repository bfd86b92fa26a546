export type NewsEvent =
  | 'failure'
  | 'recovery'
  | 'success'
  /** A job did not do well for longer than it should. */
  | 'silence'
  /** A snapshot is much smaller than those before it. */
  | 'shrink'
  /** Labels of a container are wrong. */
  | 'labels';

/** What is told. */
export interface News {
  event: NewsEvent;
  job: string;
  /** The machine that the daemon runs on. */
  machine: string;
  /** One line. */
  title: string;
  text: string;
  at: Date;
}

export type HttpKind = 'webhook' | 'ntfy' | 'slack' | 'discord' | 'gotify' | 'healthchecks';

/** Where to tell it; secrets are in it. */
export type Channel =
  | { kind: HttpKind; url: string; token?: string }
  | { kind: 'email'; server: string; from: string; to: readonly string[]; user?: string; password?: string };

/** Tells it once; raises what stands in the way. */
export type Sender = (channel: Channel, news: News, signal: AbortSignal) => Promise<void>;
