import type { Scheduler } from '../schedule/scheduler.ts';
import type { Ended } from './child.ts';

interface Numbers {
  readBytes?: number;
  newBytes?: number;
  storedBytes?: number;
}

export interface EndedRun {
  job: string;
  /** Its name in the configuration. */
  repository: string;
  result: 'ok' | 'failed' | 'stopped';
  seconds: number;
  ended: Ended;
}

/** Numbers for Prometheus: what jobs did, and when they run next. */
export interface Metrics {
  text(): Promise<{ type: string; body: string }>;
  ended(run: EndedRun, now: Date): void;
  engine(host: string, up: boolean): void;
  labelProblems(count: number): void;
}

/** `scheduler` is asked at each scrape. */
export async function createMetrics(scheduler: () => Scheduler, version: string): Promise<Metrics> {
  const { Counter, Gauge, Registry } = await import('prom-client');
  const registry = new Registry();
  const registers = [registry];
  const gauge = <T extends string>(name: string, help: string, ...labelNames: T[]) =>
    new Gauge({ name: `volbak_${name}`, help, labelNames, registers });
  const runs = new Counter({
    name: 'volbak_job_runs_total',
    help: 'Runs that ended, by result',
    labelNames: ['job', 'result'] as const,
    registers,
  });
  const duration = gauge('job_last_duration_seconds', 'How long the last run took', 'job');
  const bytes = gauge('job_last_bytes', 'Bytes of the last good run: read, new, stored', 'job', 'kind');
  const snapshot = gauge(
    'snapshot_timestamp_seconds',
    'When the last snapshot of a source was made here',
    'source',
    'status',
  );
  const kept = gauge(
    'snapshots',
    'Snapshots of a source, when a backup or a forget last told',
    'source',
    'repository',
  );
  const drill = gauge('drill_passed', 'Whether the last drill passed', 'job');
  const engine = gauge('engine_up', 'Whether the engine answered when last asked', 'host');
  const perJob = {
    success: gauge('job_last_success_timestamp_seconds', 'When a run last did well', 'job'),
    failures: gauge('job_failures', 'Failures in a row', 'job'),
    running: gauge('job_running', 'Whether it runs now', 'job'),
    silent: gauge('job_silent', 'Whether it did not do well for longer than it should', 'job'),
    next: gauge('job_next_run_timestamp_seconds', 'When it starts next by its schedule', 'job'),
  };
  const perSource = {
    entries: gauge('snapshot_files', 'Files in the last snapshot of a source', 'source'),
    bytes: gauge('snapshot_bytes', 'Bytes of the last snapshot of a source, as a tar', 'source'),
    shrunk: gauge('snapshot_shrunk', 'Whether it is much smaller than those before', 'source'),
  };
  gauge('build_info', 'The version', 'version').set({ version }, 1);
  const jobs = gauge('jobs', 'Jobs there are');
  const problems = gauge('label_problems', 'Labels of containers that are wrong');
  return {
    async text() {
      jobs.set(lookAt(scheduler(), perJob));
      sizes(scheduler(), perSource);
      return { type: registry.contentType, body: await registry.metrics() };
    },
    labelProblems: (count) => problems.set(count),
    engine: (host, up) => engine.set({ host }, up ? 1 : 0),
    ended({ job, repository, result, seconds, ended: { summary } }, now) {
      runs.inc({ job, result });
      duration.set({ job }, seconds);
      if (typeof summary?.passed === 'boolean') drill.set({ job }, summary.passed ? 1 : 0);
      for (const [kind, value] of Object.entries(bytesOf(summary))) bytes.set({ job, kind }, value);
      for (const { source, count } of countsOf(summary)) kept.set({ source, repository }, count);
      const snapshots = (summary?.command === 'backup' ? summary.snapshots : undefined) ?? [];
      for (const { source, status } of snapshots as { source: string; status: string }[])
        snapshot.set({ source, status }, now.getTime() / 1000);
    },
  };
}

type JobGauge = { set(labels: { job: string }, value: number): void; reset(): void };

function lookAt(
  scheduler: Scheduler,
  gauges: Record<'success' | 'failures' | 'running' | 'silent' | 'next', JobGauge>,
): number {
  for (const gauge of Object.values(gauges)) gauge.reset();
  const states = Object.entries(scheduler.states).filter(([, { gone }]) => gone === undefined);
  for (const [job, state] of states) {
    if (state.lastSuccess) gauges.success.set({ job }, Date.parse(state.lastSuccess) / 1000);
    gauges.failures.set({ job }, state.failures);
    gauges.running.set({ job }, state.running ? 1 : 0);
    gauges.silent.set({ job }, state.silent ? 1 : 0);
    const next = scheduler.nextStart(job);
    if (next) gauges.next.set({ job }, next.getTime() / 1000);
  }
  return states.length;
}

type SourceGauge = { set(labels: { source: string }, value: number): void; reset(): void };

function sizes(scheduler: Scheduler, gauges: Record<'entries' | 'bytes' | 'shrunk', SourceGauge>): void {
  for (const gauge of Object.values(gauges)) gauge.reset();
  for (const { extents = {}, shrunk = [] } of Object.values(scheduler.states)) {
    for (const [source, before] of Object.entries(extents)) {
      const [entries, bytes] = before.at(-1) ?? [0, 0];
      gauges.entries.set({ source }, entries);
      gauges.bytes.set({ source }, bytes);
      gauges.shrunk.set({ source }, shrunk.includes(source) ? 1 : 0);
    }
  }
}

/** How many snapshots of a source there are, where a summary tells. */
function countsOf(summary: Record<string, unknown> | undefined): { source: string; count: number }[] {
  if (summary?.command === 'backup') {
    const made = (summary.snapshots ?? []) as { source: string; ofSource?: number }[];
    return made.flatMap(({ source, ofSource }) =>
      ofSource === undefined ? [] : [{ source, count: ofSource }],
    );
  }
  if (summary?.command !== 'forget' || summary.dryRun === true) return [];
  const sources = (summary.sources ?? []) as { source: string; snapshots: { keep: boolean }[] }[];
  return sources.map(({ source, snapshots }) => ({
    source,
    count: snapshots.filter(({ keep }) => keep).length,
  }));
}

function bytesOf(summary: Record<string, unknown> | undefined): Record<string, number> {
  const snapshots = [summary?.snapshots ?? summary?.snapshot ?? []].flat() as (Numbers & {
    volumes?: Numbers[];
  })[];
  const all = snapshots.flatMap((snapshot) => snapshot.volumes ?? [snapshot]);
  if (all.length === 0) return {};
  const sum = (key: keyof Numbers) => all.reduce((total, numbers) => total + (numbers[key] ?? 0), 0);
  return { read: sum('readBytes'), new: sum('newBytes'), stored: sum('storedBytes') };
}
