import { type Environment, readEnvironment } from '../config/env.ts';
import { systemClock } from '../core/clock.ts';
import { isVolbakError, VolbakError } from '../core/errors.ts';
import { formatDuration } from '../core/units.ts';
import type { EngineConnection } from '../engine/connect.ts';
import type { EngineContext, LaneKind } from '../jobs/engine-context.ts';
import type { JobEnvironment } from '../jobs/environment.ts';
import type { Need, PinnedAccess } from '../jobs/open/access.ts';
import type { Secrets } from '../repository/key-slots.ts';
import type { PinFile } from '../repository/pins.ts';
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
  trust?: boolean;
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
  /** Runs another command line in this process, with the same streams and signal; resolves with its exit code. */
  readonly commandLine: (argv: readonly string[]) => Promise<number>;
  #store: Store | undefined;
  #secrets: Promise<Secrets> | undefined;
  readonly #stores: Store[] = [];

  constructor(
    options: GlobalOptions,
    output: Output,
    signal: AbortSignal,
    commandLine: (argv: readonly string[]) => Promise<number>,
  ) {
    this.commandLine = commandLine;
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

  /** The repository; one that is encrypted must be readable unless told. Raises REPOSITORY_MISSING, WRONG_KEY. */
  async repository(need: Need = 'read'): Promise<Repository> {
    const { Repository } = await import('../repository/repository.ts');
    const store = await this.store();
    return Repository.open(store, await this.access(store, this.location, need));
  }

  /**
   * The repository, made where its place is absent or empty. An encrypted one can be written to without an identity.
   * Raises WRONG_KEY, also where an encrypted one was in that place.
   */
  async repositoryOrNew(location = this.location, need: Need = 'write'): Promise<Repository> {
    const [{ Repository }, { readDescriptor }, { refuseNewInPlaceOfEncrypted }] = await Promise.all([
      import('../repository/repository.ts'),
      import('../repository/descriptor.ts'),
      import('../jobs/open/access.ts'),
    ]);
    const store = location === this.location ? await this.store() : await this.openStore(location);
    if (!(await readDescriptor(store))) await refuseNewInPlaceOfEncrypted(await this.pin(store, location));
    const access = await this.access(store, location, need);
    const { repository, created } = await Repository.openOrInit(store, systemClock.now(), access);
    if (created) this.output.emit({ event: 'repository-created', repository: store.label });
    return repository;
  }

  /** How a repository is opened: with which keys, and what must be as it was before. */
  async access(store: Store, location: string, need: Need): Promise<PinnedAccess> {
    const { PinnedAccess } = await import('../jobs/open/access.ts');
    return new PinnedAccess({
      need,
      pin: await this.pin(store, location),
      stateDirectory: this.environment.stateDirectory,
      secrets: () => this.secrets(),
      namesKey: async () => (await import('../config/secrets.ts')).readSource(this.environment.namesKey),
      trust: this.options.trust ?? false,
      emit: this.output.emit,
    });
  }

  /** What opens encrypted repositories, from the environment. Raises WRONG_KEY for what cannot be understood. */
  secrets(): Promise<Secrets> {
    this.#secrets ??= (async () => {
      const { readIdentities, readPassphrase } = await import('../config/secrets.ts');
      const identities = await readIdentities(this.environment.identity);
      const passphrase = await readPassphrase(this.environment.passphrase);
      return passphrase === undefined ? { identities } : { identities, passphrase };
    })();
    return this.#secrets;
  }

  /** Labels of S3 leave out the server. */
  async pin(store: Store, location: string): Promise<PinFile> {
    const { PinFile } = await import('../repository/pins.ts');
    const endpoint = /^s3:/.test(location) ? new URL(location).searchParams.get('endpoint') : null;
    const place = endpoint === null ? store.label : `${store.label}?endpoint=${endpoint}`;
    return new PinFile(this.environment.stateDirectory, place);
  }

  /** Connects to the engine, or another one, and first keeps the promises of runs that were killed. */
  async connect(other?: string): Promise<EngineConnection> {
    const { recover } = await import('../jobs/recover.ts');
    const engine = await this.connectOnly(other);
    await recover(engine, this.env, () => this.#withHelperImage(engine));
    return engine;
  }

  /** The same without anything else: for what changes nothing. */
  async connectOnly(other?: string, signal = this.signal): Promise<EngineConnection> {
    const [{ connect }, { resolveEndpoint }] = await Promise.all([
      import('../engine/connect.ts'),
      import('../engine/endpoint.ts'),
    ]);
    const { host, context } = other === undefined ? this.options : { host: other };
    const endpoint = resolveEndpoint({
      env: this.environment.raw,
      homeDir: this.environment.homeDirectory,
      ...(host === undefined ? {} : { host }),
      ...(context === undefined ? {} : { context }),
    });
    return connect(endpoint, { signal });
  }

  /** The engine, or the one at another host, with a helper image chosen: where none can be had, that of `like`. */
  async engine(other?: string, like?: EngineContext): Promise<EngineContext> {
    const engine = await this.connect(other);
    try {
      return await this.#withHelperImage(engine);
    } catch (error) {
      if (like?.engine.info.arch !== engine.info.arch || !isVolbakError(error, 'HELPER_FAILED')) throw error;
      const { copyImage } = await import('../engine/image.ts');
      const log = (message: string) => this.output.emit({ event: 'info', message });
      await copyImage(like.engine, engine, like.image, { signal: this.signal, log });
      return { ...like, engine, lane: this.options.lane ?? 'auto' };
    }
  }

  async #withHelperImage(engine: EngineConnection): Promise<EngineContext> {
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
    if (image.origin !== 'local' && image.origin !== 'own')
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
