import type { Readable } from 'node:stream';
import type Dockerode from 'dockerode';
import { LineSplitter } from '../core/lines.ts';
import type { EngineConnection } from './connect.ts';
import { demultiplex } from './demux.ts';
import { statusOf } from './helper.ts';
import { engineMessage } from './image-progress.ts';

/** What to run in a container that runs already. */
export interface ExecSpec {
  /** A script for the container's /bin/sh, which ends at the first command that fails; or a program with its arguments. */
  command: string | readonly string[];
  user?: string | undefined;
  env?: Readonly<Record<string, string>> | undefined;
  timeoutMs: number;
  onLine(stream: 'stdout' | 'stderr', line: string): void;
}

export type ExecEnd =
  | { kind: 'exit'; code: number }
  | { kind: 'timeout' }
  /** It could not be started, in the engine's words. */
  | { kind: 'refused'; why: string };

/** First line of a script: its process, so that a script that takes too long can be ended. */
const MARK = 'volbak-process';

/** Runs a command in a running container and waits for its end. Raises the signal's reason. */
export async function execIn(
  engine: EngineConnection,
  id: string,
  spec: ExecSpec,
  signal: AbortSignal,
): Promise<ExecEnd> {
  signal.throwIfAborted();
  const { command } = spec;
  const words =
    typeof command === 'string' ? ['/bin/sh', '-ec', `echo "${MARK} $$" >&2\n${command}`] : [...command];
  let exec: Dockerode.Exec;
  let stream: Readable;
  try {
    exec = await engine.docker.getContainer(id).exec({
      Cmd: words,
      AttachStdout: true,
      AttachStderr: true,
      ...(spec.user === undefined ? {} : { User: spec.user }),
      Env: Object.entries(spec.env ?? {}).map(([key, value]) => `${key}=${value}`),
    });
    stream = (await exec.start({ Detach: false, Tty: false })) as unknown as Readable;
  } catch (error) {
    if (statusOf(error) === undefined) throw error;
    return { kind: 'refused', why: engineMessage(error) };
  }
  const output = new Output(spec);
  const limit = AbortSignal.timeout(spec.timeoutMs);
  const cut = AbortSignal.any([signal, limit]);
  const onCut = () => stream.destroy();
  cut.addEventListener('abort', onCut);
  try {
    await output.take(stream);
    cut.throwIfAborted();
    return { kind: 'exit', code: await exitCodeOf(exec) };
  } catch (error) {
    if (!cut.aborted) throw error;
    if (output.process !== undefined) await kill(engine, id, output.process);
    signal.throwIfAborted();
    return { kind: 'timeout' };
  } finally {
    cut.removeEventListener('abort', onCut);
  }
}

class Output {
  readonly #spec: ExecSpec;
  process: string | undefined;

  constructor(spec: ExecSpec) {
    this.#spec = spec;
  }

  async take(stream: AsyncIterable<Uint8Array>): Promise<void> {
    const stdout = new LineSplitter((line) => this.#spec.onLine('stdout', line));
    const stderr = new LineSplitter((line) => this.#stderr(line));
    for await (const bytes of demultiplex(stream, (part) => stderr.push(part))) stdout.push(bytes);
    stdout.end();
    stderr.end();
  }

  #stderr(line: string): void {
    if (this.process === undefined && line.startsWith(`${MARK} `)) this.process = line.slice(MARK.length + 1);
    else this.#spec.onLine('stderr', line);
  }
}

/** The engine tells the code a moment after the output's end. */
async function exitCodeOf(exec: Dockerode.Exec): Promise<number> {
  for (;;) {
    const { ExitCode, Running } = await exec.inspect();
    if (!Running && ExitCode !== null) return ExitCode;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** What exec starts leads a session of its own: its children go with it. The engine has no call for this. */
async function kill(engine: EngineConnection, id: string, process: string): Promise<void> {
  if (!/^\d+$/.test(process)) return;
  const script = `kill -KILL -${process} 2>/dev/null || kill -KILL ${process}`;
  const exec = await engine.docker
    .getContainer(id)
    .exec({ Cmd: ['/bin/sh', '-c', script], User: '0' })
    .catch(() => undefined);
  await exec?.start({ Detach: true }).catch(() => {});
}
