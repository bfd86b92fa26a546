import type { Command } from 'commander';
import { plural } from '../../core/units.ts';
import { configFile, readConfig } from '../config.ts';
import type { Register } from '../program.ts';

export function define(program: Command, register: Register): void {
  const command = program.command('validate').description('check the configuration, volbak.yaml');
  register(command, async (runtime) => {
    const config = await readConfig(runtime);
    const file = await configFile(runtime);
    const [jobs, repositories] = [Object.keys(config.jobs), Object.keys(config.repositories)];
    runtime.output.document({ file, jobs, repositories });
    runtime.output.line(
      `${file} is right: ${plural(jobs.length, 'job')}, ${repositories.length} ${repositories.length === 1 ? 'repository' : 'repositories'}`,
    );
    return 0;
  });
}
