import { VolbakError } from '../../core/errors.ts';
import { LastWords, LineSplitter } from '../../core/lines.ts';
import type { EngineConnection } from '../../engine/connect.ts';
import { ensureImage } from '../../engine/ensure-image.ts';
import { type HandlerEnd, type HandlerSpec, runHandler } from '../../engine/handler.ts';
import { inspectContainer, type SourceContainer } from '../../engine/source.ts';
import type { Manifest } from '../../repository/manifest.ts';
import type { Repository } from '../../repository/repository.ts';
import type { JobEnvironment } from '../environment.ts';
import { type Hold, hold } from '../hold.ts';
import { hookTarget } from '../hooks.ts';
import { CaptureJob } from './capture-job.ts';
import type { HandlePlan } from './plan.ts';

export interface HandleDeps {
  env: JobEnvironment;
  engine: EngineConnection;
  /** Where captured output goes; asked for only where there is any. */
  repository(): Promise<Repository>;
  tags: Record<string, string>;
}

export interface HandleOutcome {
  durationMs: number;
  /** Of what was captured. */
  manifest?: Manifest;
}

/** A handler that ended, and not well. */
export class HandlerFailure extends VolbakError {
  readonly handlerExit: number;

  constructor(message: string, handlerExit: number, hint?: string) {
    super('HANDLER_FAILED', message, hint === undefined ? {} : { hint });
    this.handlerExit = handlerExit;
  }
}

/** Runs a handler on a container's volumes. Raises HANDLER_FAILED where it or a hook fails; then nothing is captured. */
export async function handle(deps: HandleDeps, plan: HandlePlan): Promise<HandleOutcome> {
  const { env, engine } = deps;
  const started = env.clock.now();
  const container = plan.container.container as SourceContainer;
  const image = await ensureImage(engine, plan.image, {
    signal: env.signal,
    log: (message) => env.emit({ event: 'info', message }),
  });
  if (plan.network) await assertRunning(engine, container.name);
  // Before anything is told to wait for us: a store that cannot be reached, or the wrong key.
  const repository = plan.capture === undefined ? undefined : await deps.repository();
  const spec: HandlerSpec = { ...plan, image: image.Id, volumesFrom: container.id };
  const holding: Hold = {
    engine,
    mode: plan.quiesce,
    volumes: plan.container.volumes.map(({ name }) => name),
    hooks: plan.hooks,
    target: hookTarget(engine, plan.container, plan.hooks),
  };
  const { result: manifest } = await hold(env, holding, () => runOnce(deps, plan, spec, repository));
  const durationMs = env.clock.now().getTime() - started.getTime();
  return manifest ? { durationMs, manifest } : { durationMs };
}

async function assertRunning(engine: EngineConnection, name: string): Promise<void> {
  const { State } = await inspectContainer(engine, name);
  if (State.Running) return;
  throw new VolbakError('HANDLER_FAILED', `container ${name} does not run, so its network cannot be shared`, {
    hint: `docker start ${name}`,
  });
}

async function runOnce(
  deps: HandleDeps,
  plan: HandlePlan,
  spec: HandlerSpec,
  repository: Repository | undefined,
): Promise<Manifest | undefined> {
  const { env, engine } = deps;
  const said = new LastWords();
  const tell = (stream: 'stdout' | 'stderr') =>
    new LineSplitter((text) => {
      said.add(stream, text);
      env.emit({ event: 'log', stream, text });
    });
  const stderr = tell('stderr');
  const run = async (stdout: HandlerStdout) => {
    const end = await runHandler(engine, spec, { stdout, stderr: (bytes) => stderr.push(bytes) }, env.signal);
    stderr.end();
    judge(plan, end, said);
  };
  if (plan.capture !== undefined && repository) {
    const job = new CaptureJob(env, engine, repository, deps.tags);
    return job.run(plan.container, plan.capture, run);
  }
  const lines = tell('stdout');
  await run(async (stream) => {
    for await (const bytes of stream) lines.push(bytes);
    lines.end();
  });
  return undefined;
}

/** Takes a handler's output to its end. */
export type HandlerStdout = (stream: AsyncIterable<Buffer>) => Promise<void>;

function judge(plan: HandlePlan, { exitCode, outOfMemory }: HandlerEnd, said: LastWords): void {
  if (exitCode === 0) return;
  const kept = plan.capture === undefined ? '' : '; nothing was kept';
  if (outOfMemory) {
    throw new HandlerFailure(
      `the handler was killed for lack of memory (exit code ${exitCode})${kept}`,
      exitCode,
      'Give it more with --memory.',
    );
  }
  const last = said.complaint === '' ? '' : `: ${said.complaint}`;
  throw new HandlerFailure(`the handler ended with exit code ${exitCode}${last}${kept}`, exitCode);
}
