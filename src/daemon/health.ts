import type { Scheduler } from '../schedule/scheduler.ts';

/** The answer to /healthz. */
export function healthOf(
  scheduler: Scheduler,
  version: string,
  stopping: boolean,
): { status: number; type: string; body: string } {
  const there = Object.entries(scheduler.states).filter(([, { gone }]) => gone === undefined);
  const jobs = Object.fromEntries(
    there.map(([name, state]) => [
      name,
      {
        running: state.running !== undefined,
        failures: state.failures,
        lastSuccess: state.lastSuccess ?? null,
        next: scheduler.nextStart(name)?.toISOString() ?? null,
      },
    ]),
  );
  const body = `${JSON.stringify({ status: stopping ? 'stopping' : 'ok', version, jobs })}\n`;
  return { status: stopping ? 503 : 200, type: 'application/json', body };
}
