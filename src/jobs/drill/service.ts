import { LastWords } from '../../core/lines.ts';
import { sleep } from '../../core/sleep.ts';
import type { EngineConnection } from '../../engine/connect.ts';
import { execIn } from '../../engine/exec.ts';
import { type Service, type ServiceSpec, startService } from '../../engine/service.ts';
import type { JobEnvironment } from '../environment.ts';
import { execFailure } from '../hooks.ts';

export type Command = string | readonly string[];

/** A program in the service's container. */
export interface Probe {
  command: Command;
  user?: string | undefined;
}

/** What to do with the outcome: passed or not, and why. */
export interface Outcome {
  passed: boolean;
  detail: string;
}

/** Between two looks at the service. */
const INTERVAL_MS = 200;
/** A service without a health check counts as started when it ran for so long. */
const SETTLED_MS = 2000;

/** Without a health check nobody can tell a job that is done from a service: the data was compared, a check may ask more. */
const NO_SERVICE = 'its command ended with exit code 0, as that of no service does';

/** An image's own health check as a probe; undefined where it has none. */
export function healthOf(test: readonly string[] | undefined): Probe | undefined {
  const [kind, ...words] = test ?? [];
  if (kind === 'CMD' && words.length > 0) return { command: words };
  if (kind === 'CMD-SHELL' && words[0] !== undefined) return { command: words[0] };
  return undefined;
}

/** Waits until the probe succeeds, or the service has run for a while where there is none. */
export async function untilHealthy(
  engine: EngineConnection,
  service: Service,
  health: Probe | undefined,
  timeoutMs: number,
  env: JobEnvironment,
): Promise<Outcome> {
  const now = () => env.clock.now().getTime();
  const began = now();
  let last = 'it was never asked';
  for (;;) {
    const code = await service.exitCode();
    if (code === 0 && !health) return { passed: true, detail: NO_SERVICE };
    if (code !== undefined)
      return { passed: false, detail: `it ended with exit code ${code}${await logOf(service)}` };
    const left = timeoutMs - (now() - began);
    if (left <= 0) {
      return {
        passed: false,
        detail: `not healthy within ${timeoutMs / 1000} s: ${last}${await logOf(service)}`,
      };
    }
    if (!health) {
      if (now() - began >= Math.min(SETTLED_MS, timeoutMs / 2)) {
        return { passed: true, detail: 'it runs (there is no health check)' };
      }
    } else {
      const said = new LastWords();
      const limit = Math.max(1000, left);
      const end = await execIn(
        engine,
        service.id,
        { ...health, timeoutMs: limit, onLine: (stream, line) => said.add(stream, line) },
        env.signal,
      );
      const failure = execFailure(end, limit, said);
      if (failure === undefined) return { passed: true, detail: 'healthy' };
      last = `its health check ${failure}`;
    }
    await sleep(INTERVAL_MS, env.signal);
  }
}

async function logOf(service: Service): Promise<string> {
  const lines = await service.log();
  return lines.length === 0 ? '' : `; its log ends with: ${lines.slice(-3).join(' | ')}`;
}

/** Runs the check in a container of its own, in place of the service, which is no service. */
export async function runCheckAlone(
  engine: EngineConnection,
  spec: ServiceSpec,
  { command, user }: Probe,
  timeoutMs: number,
  env: JobEnvironment,
): Promise<Outcome> {
  const entrypoint = typeof command === 'string' ? ['/bin/sh', '-c', command] : command;
  const check = await startService(engine, {
    ...spec,
    name: `${spec.name}-check`,
    entrypoint,
    cmd: undefined,
    user: user ?? spec.user,
    keep: false,
  });
  const until = env.clock.now().getTime() + timeoutMs;
  try {
    for (;;) {
      const code = await check.exitCode();
      const said = await check.log();
      if (code === 0) return { passed: true, detail: said.at(-1) ?? 'exit code 0' };
      if (code !== undefined)
        return { passed: false, detail: [`it ended with exit code ${code}`, ...said.slice(-3)].join(': ') };
      if (env.clock.now().getTime() > until)
        return { passed: false, detail: `it took longer than ${timeoutMs / 1000} s` };
      await sleep(INTERVAL_MS, env.signal);
    }
  } finally {
    await check.remove();
  }
}

/** Runs the check in the service's container. */
export async function runCheck(
  engine: EngineConnection,
  service: Service,
  probe: Probe,
  timeoutMs: number,
  env: JobEnvironment,
): Promise<Outcome> {
  const said = new LastWords();
  const onLine = (stream: 'stdout' | 'stderr', text: string) => {
    said.add(stream, text);
    env.emit({ event: 'log', stream: stream === 'stdout' ? 'stderr' : stream, text });
  };
  const end = await execIn(engine, service.id, { ...probe, timeoutMs, onLine }, env.signal);
  const failure = execFailure(end, timeoutMs, said);
  return failure === undefined
    ? { passed: true, detail: said.result || 'exit code 0' }
    : { passed: false, detail: `it ${failure}` };
}
