import type { Command } from 'commander';
import type { ConfigFile } from '../../config/schema.ts';
import { systemClock } from '../../core/clock.ts';
import { readConfig, systemZone } from '../config.ts';
import { withLabelJobsIfThere } from '../labels.ts';
import { positiveInteger } from '../options.ts';
import type { Register } from '../program.ts';
import { table } from '../render/table.ts';
import type { Runtime } from '../runtime.ts';

interface Row {
  job: string;
  does: string;
  /** When it was planned, without jitter, in its time zone and as UTC. */
  local?: string;
  at?: string;
  timezone?: string;
  after?: string;
}

export function define(program: Command, register: Register): void {
  const command = program
    .command('schedule')
    .description('show when the jobs of volbak.yaml and of labels run next')
    .option('-n, --runs <n>', 'how many runs of each job', positiveInteger, 3);
  register(command, (runtime, _, options) => run(runtime, (options as unknown as { runs: number }).runs));
}

async function run(runtime: Runtime, runs: number): Promise<number> {
  const { config } = await withLabelJobsIfThere(runtime, await readConfig(runtime));
  const rows = await rowsOf(config, runs);
  runtime.output.document(rows);
  const cells = rows.map(({ job, does, local, timezone, after }) => [
    job,
    does,
    local ?? (after === undefined ? 'only by `volbak run`' : `after ${after}`),
    timezone ?? '',
  ]);
  for (const line of table(['JOB', 'DOES', 'WHEN', 'TIME ZONE'], cells)) runtime.output.line(line);
  return 0;
}

/** Runs by time, then what waits for others. */
async function rowsOf({ jobs, defaults }: ConfigFile, runs: number): Promise<Row[]> {
  const [{ Schedule }, { actionOf }] = await Promise.all([
    import('../../schedule/cron.ts'),
    import('../../config/load.ts'),
  ]);
  const now = systemClock.now();
  const rows = Object.entries(jobs).flatMap(([name, job]): Row[] => {
    const row = { job: name, does: actionOf(job) ?? '' };
    if (job.schedule === undefined) return [job.after === undefined ? row : { ...row, after: job.after }];
    const timezone = job.timezone ?? defaults.timezone ?? systemZone();
    const schedule = new Schedule(job.schedule, timezone);
    const times: Date[] = [];
    for (let at = schedule.next(now); at && times.length < runs; at = schedule.next(at)) times.push(at);
    return times.map((at) => ({ ...row, at: at.toISOString(), local: localTime(at, timezone), timezone }));
  });
  return rows.sort((a, b) => (a.at ?? '~').localeCompare(b.at ?? '~'));
}

function localTime(at: Date, timeZone: string): string {
  return new Intl.DateTimeFormat('sv', { timeZone, dateStyle: 'short', timeStyle: 'medium' }).format(at);
}
