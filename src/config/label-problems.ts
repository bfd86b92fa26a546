import { unknownName, type YamlProblem } from '../core/yaml-file.ts';
import type { ScheduleCheck } from './load.ts';
import type { ConfigFile } from './schema.ts';

/** What is wrong with the defaults of labels in volbak.yaml. */
export function labelsProblems(
  { labels, repositories, defaults }: ConfigFile,
  checkSchedule: ScheduleCheck,
): YamlProblem[] {
  if (!labels) return [];
  const problems: YamlProblem[] = [];
  const complain = (key: string, message: string) => problems.push({ path: ['labels', key], message });
  const known = Object.keys(repositories);
  const { repository, stop, pause } = labels as { repository?: string; stop?: boolean; pause?: boolean };
  if (repository !== undefined && !known.includes(repository))
    complain('repository', unknownName('repository', repository, known));
  if (stop && pause) complain('pause', 'stop and pause exclude each other');
  for (const key of ['schedule', 'verify', 'drill', 'prune'] as const) {
    const schedule = labels[key];
    if (typeof schedule !== 'string') continue;
    const wrong = checkSchedule(schedule, (labels.timezone as string | undefined) ?? defaults.timezone);
    if (wrong !== undefined) complain(key, wrong);
  }
  return problems;
}
