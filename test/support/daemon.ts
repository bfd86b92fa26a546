import type { ChildProcess } from 'node:child_process';
import { afterwards } from './temp.ts';
import { finished, type Json, spawnVolbak, type VolbakOptions, type VolbakResult } from './volbak.ts';

/** A daemon at work. */
export interface RunningDaemon {
  child: ChildProcess;
  /** Log lines so far. */
  log: Json[];
  ended: Promise<VolbakResult>;
  /** Waits for a line of the log. */
  says(pattern: RegExp, times?: number): Promise<void>;
}

/** Starts `volbak daemon` with these global options; it is killed after the test. */
export async function startDaemon(
  globals: readonly string[],
  options: Pick<VolbakOptions, 'env' | 'cwd'> = {},
  ...args: string[]
): Promise<RunningDaemon> {
  const child = await spawnVolbak([...globals, 'daemon', '--log', 'json', ...args], options);
  const log: Json[] = [];
  let rest = '';
  child.stdout?.on('data', (bytes: Buffer) => {
    const lines = (rest + bytes).split('\n');
    rest = lines.pop() ?? '';
    log.push(...lines.map((line) => JSON.parse(line)));
  });
  const ended = finished(child, 170_000);
  afterwards(async () => {
    if (child.exitCode === null) child.kill('SIGKILL');
    await ended;
  });
  return {
    child,
    log,
    ended,
    async says(pattern, times = 1) {
      const until = Date.now() + 60_000;
      while (log.filter(({ msg }) => pattern.test(msg)).length < times) {
        if (Date.now() > until || child.exitCode !== null)
          throw new Error(`never said ${pattern}:\n${log.map((line) => JSON.stringify(line)).join('\n')}`);
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    },
  };
}
