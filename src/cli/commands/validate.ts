import type { Command } from 'commander';
import { ERROR_CODES } from '../../core/errors.ts';
import { plural } from '../../core/units.ts';
import { configOrigin, readConfig } from '../config.ts';
import { withLabelJobsIfThere } from '../labels.ts';
import type { Register } from '../program.ts';

export function define(program: Command, register: Register): void {
  const command = program
    .command('validate')
    .description('check the configuration, volbak.yaml, and labels of containers');
  register(command, async (runtime) => {
    const { config, problems } = await withLabelJobsIfThere(runtime, await readConfig(runtime));
    const file = (await configOrigin(runtime)).name;
    const [jobs, repositories] = [Object.keys(config.jobs), Object.keys(config.repositories)];
    runtime.output.document({ file, jobs, repositories, labelProblems: problems });
    const counts = `${plural(jobs.length, 'job')}, ${repositories.length} ${repositories.length === 1 ? 'repository' : 'repositories'}`;
    const wrong = problems === 0 ? '' : `; ${plural(problems, 'problem')} with labels`;
    runtime.output.line(`${file} is right: ${counts}${wrong}`);
    return problems === 0 ? 0 : ERROR_CODES.CONFIG;
  });
}
