import { type Environment, readEnvironment } from '../config/env.ts';
import { systemClock } from '../core/clock.ts';
import { VolbakError } from '../core/errors.ts';
import { formatDuration } from '../core/units.ts';
import type { EngineConnection } from '../engine/connect.ts';
import type { EngineContext, LaneKind } from '../jobs/engine-context.ts';
import type { JobEnvironment } from '../jobs/environment.ts';
import type { Repository } from '../repository/repository.ts';
import type { Store } from '../store/store.ts';
import type { Output } from './render/output.ts';
import { VERSION } from './version.ts';

/** Options that every command takes. */
export interface GlobalOptions {
  host?: string;
  context?: string;
  repo?: string;
  config?: string;
  json?: boolean;
  quiet?: boolean;
  verbose?: boolean;
  color: boolean;
  progress: boolean;
  lane?: LaneKind | 'auto';
  helperImage?: string;
  parallel?: number;
  limitUpload?: number;
  limitDownload?: number;
  retryFor: number;
}

/** Segments (32 MiB each) and reads (about 12 MiB each) on their way to and from a server at once. */
const REMOTE_SEGMENTS = 3;
const REMOTE_READS = 6;

/** What commands work with: opens the engine and the repository when first asked for, closes them at the end. */
export class Runtime {
  readonly options: GlobalOptions;
  readonly output: Output;
  readonly environment: Environment;
  readonly signal: AbortSignal;
  #store: Store | undefined;
  readonly #stores: Store[] = [];

  constructor(options: GlobalOptions, output: Output, signal: AbortSignal) {
    this.options = options;
    this.output = output;
    this.signal = signal;
    this.environment = readEnvironment();
  }

  get env(): JobEnvironment {
    const remote = /^(s3|sftp):/.test(this.location);
    const parallel = this.options.parallel ?? (remote ? REMOTE_SEGMENTS : undefined);
    const readAhead = this.options.parallel ?? (remote ? REMOTE_READS : undefined);
    return {
      emit: this.output.emit,
      clock: systemClock,
      signal: this.signal,
      stateDirectory: this.environment.stateDirectory,
      cacheDirectory: this.environment.cacheDirectory,
      version: VERSION,
      cacheIndexes: remote,
      ...(parallel === undefined ? {} : { parallel }),
      ...(readAhead === undefined ? {} : { readAhead }),
    };
  }

  /** Where the repository is: --repo, VOLBAK_REPO, or the data directory. */
  get location(): string {
    return this.options.repo ?? this.environment.repository ?? this.environment.dataDirectory;
  }

  async store(): Promise<Store> {
    this.#store ??= await this.openStore(this.location);
    return this.#store;
  }

  /** A store with the wrappers that the options ask for; closed at the end. */
  async openStore(location: string): Promise<Store> {
    const [{ openStore }, { RetryStore }, { ThrottleStore }] = await Promise.all([
      import('../store/url.ts'),
      import('../store/retry.ts'),
      import('../store/throttle.ts'),
    ]);
    const { homeDirectory, user, sshAgentSocket, sftpPassword } = this.environment;
    const store = await openStore(location, {
      homeDirectory,
      user,
      agentSocket: sshAgentSocket,
      sftpPassword,
    });
    const { limitUpload: upload, limitDownload: download, retryFor } = this.options;
    const limits = {
      ...(upload === undefined ? {} : { upload }),
      ...(download === undefined ? {} : { download }),
    };
    const throttled =
      upload === undefined && download === undefined ? store : new ThrottleStore(store, limits);
    const tried = new RetryStore(throttled, {
      limitMs: retryFor,
      onRetry: (message, waitMs) =>
        this.output.emit({ event: 'info', message: `${message}; trying again in ${formatDuration(waitMs)}` }),
    });
    this.#stores.push(tried);
    return tried;
  }

  /** Raises REPOSITORY_MISSING. */
  async repository(): Promise<Repository> {
    const { Repository } = await import('../repository/repository.ts');
    return Repository.open(await this.store());
  }

  /** The repository, made where its place is absent or empty. */
  async repositoryOrNew(): Promise<Repository> {
    const { Repository } = await import('../repository/repository.ts');
    const store = await this.store();
    const { repository, created } = await Repository.openOrInit(store, systemClock.now());
    if (created) this.output.emit({ event: 'repository-created', repository: store.label });
    return repository;
  }

  /** Connects to the engine, and first keeps the promises of runs that were killed. */
  async connect(): Promise<EngineConnection> {
    const [{ connect }, { resolveEndpoint }, { recover }] = await Promise.all([
      import('../engine/connect.ts'),
      import('../engine/endpoint.ts'),
      import('../jobs/recover.ts'),
    ]);
    const { host, context } = this.options;
    const endpoint = resolveEndpoint({
      env: this.environment.raw,
      homeDir: this.environment.homeDirectory,
      ...(host === undefined ? {} : { host }),
      ...(context === undefined ? {} : { context }),
    });
    const engine = await connect(endpoint, { signal: this.signal });
    await recover(engine, this.env);
    return engine;
  }

  /** The engine with a helper image chosen. */
  async engine(): Promise<EngineContext> {
    const engine = await this.connect();
    const { chooseHelperImage } = await import('../engine/image.ts');
    const requested = this.options.helperImage ?? this.environment.helperImage;
    const image = await chooseHelperImage(engine, {
      version: VERSION,
      allowPull: true,
      allowBuild: true,
      signal: this.signal,
      log: (message) => this.output.emit({ event: 'info', message }),
      ...(requested === undefined ? {} : { requested }),
    });
    if (image.origin !== 'local')
      this.output.emit({ event: 'helper-image', image: image.name, origin: image.origin });
    return { engine, image: image.name, lane: this.options.lane ?? 'auto', signal: this.signal };
  }

  async close(): Promise<void> {
    this.output.close();
    for (const store of this.#stores) await store.close();
  }
}

/** Parses repeated `key=value` options. Raises USAGE. */
export function parsePairs(values: readonly string[], option: string): Record<string, string> {
  const pairs = values.map((text): [string, string] => {
    const equals = text.indexOf('=');
    if (equals <= 0) throw new VolbakError('USAGE', `${option} takes key=value, not '${text}'`);
    return [text.slice(0, equals), text.slice(equals + 1)];
  });
  return Object.fromEntries(pairs);
}
