import type { Command } from 'commander';
import type { Register } from '../program.ts';

export function define(program: Command, register: Register): void {
  const command = program.command('init').description('make a repository');
  register(command, async (runtime) => {
    const { initRepository } = await import('../../repository/descriptor.ts');
    const store = await runtime.store();
    const { descriptor, created } = await initRepository(store, runtime.env.clock.now());
    const fields = { repository: store.label, id: descriptor.id, created };
    runtime.output.line(
      created
        ? `made repository ${descriptor.id} in ${store.label}`
        : `repository ${descriptor.id} was there already in ${store.label}`,
    );
    runtime.output.summary('init', 0, fields);
    return 0;
  });
}
