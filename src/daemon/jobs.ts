import { claimsOf } from '../config/jobs.ts';
import type { LabelJobs } from '../config/labels.ts';
import type { ConfigFile } from '../config/schema.ts';
import { parseDuration } from '../core/quantities.ts';
import { Schedule } from '../schedule/cron.ts';
import type { Job } from '../schedule/types.ts';

/** Milliseconds of a duration that the configuration was checked for; it has weeks, too. */
export function milliseconds(text: string): number {
  const weeks = /^([\d.]+)\s*w$/i.exec(text)?.[1];
  return parseDuration(weeks === undefined ? text : `${Number(weeks) * 7}d`) ?? 0;
}

/** Failures are tried again this often, unless told. */
const RETRY = { times: 2, delay: '1m', 'max-delay': '1h' };

type Found = Pick<LabelJobs, 'jobs' | 'claims'>;

/** The configuration with jobs that were found; one whose repository it does not know would go to another. */
export function joined(config: ConfigFile, { jobs }: Pick<Found, 'jobs'>): ConfigFile {
  const known = Object.entries(jobs).filter(
    ([, { repository }]) => repository === undefined || Object.hasOwn(config.repositories, repository),
  );
  return { ...config, jobs: { ...config.jobs, ...Object.fromEntries(known) } };
}

/** Jobs as the scheduler wants them; those that were `found` may go and come back. */
export function scheduledJobs(
  config: ConfigFile,
  systemZone: string,
  found: Found = { jobs: {}, claims: {} },
): Job[] {
  const { defaults } = config;
  return Object.entries(config.jobs).map(([name, job]) => {
    const zone = job.timezone ?? defaults.timezone ?? systemZone;
    const retry = job.retry ?? defaults.retry ?? RETRY;
    const silence = job.silence ?? defaults.silence;
    return {
      name,
      makesSnapshots: job.backup !== undefined || job.handle !== undefined,
      ...(silence === undefined ? {} : { silenceMs: silence === false ? 0 : milliseconds(silence) }),
      plan: job.schedule === undefined ? '' : `${job.schedule} ${zone}`,
      claims: [...claimsOf(config, job), ...(found.claims[name] ?? [])],
      lasting: Object.hasOwn(found.jobs, name),
      jitterMs: milliseconds(job.jitter ?? defaults.jitter ?? '0s'),
      overlap: job.overlap ?? defaults.overlap ?? 'queue',
      missed: job.missed ?? defaults.missed ?? 'once',
      retry: {
        times: retry.times,
        delayMs: milliseconds(retry.delay),
        maxDelayMs: milliseconds(retry['max-delay']),
      },
      ...(job.schedule === undefined ? {} : { schedule: new Schedule(job.schedule, zone) }),
      ...(job.after === undefined ? {} : { after: job.after }),
    };
  });
}

/** The engine that a job works on; '' is the daemon's own. */
export function hostOf({ jobs, defaults }: ConfigFile, name: string): string {
  return jobs[name]?.host ?? defaults.host ?? '';
}

/** Engines that jobs work on; '' is the daemon's own. */
export function hostsOf({ jobs, defaults, labels }: ConfigFile): string[] {
  const own = [...Object.values(jobs), ...(labels?.enable ? [labels] : [])];
  return [...new Set(own.map(({ host }) => host ?? defaults.host ?? ''))];
}
