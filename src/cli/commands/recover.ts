import type { Command } from 'commander';
import type { Register } from '../program.ts';

export function define(program: Command, register: Register): void {
  const command = program
    .command('recover')
    .description(
      'start again what a killed run left stopped, and clear away what it left; every command does so first',
    );
  register(command, async (runtime) => {
    await runtime.connect();
    runtime.output.summary('recover', 0, {});
    return 0;
  });
}
