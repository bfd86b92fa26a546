import type { Command } from 'commander';
import { patientOf } from '../patient.ts';
import type { Register } from '../program.ts';

const MARKS = { ok: 'ok     ', warning: 'WARNING', failed: 'FAILED ' } as const;

export function define(program: Command, register: Register): void {
  const command = program
    .command('doctor')
    .description('check engine, helper image, repository, store and clocks, and say what to do');
  register(command, async (runtime) => {
    const { examine } = await import('../../jobs/doctor/doctor.ts');
    const checks = await examine(patientOf(runtime));
    runtime.output.document(checks);
    for (const { name, state, detail, hint } of checks) {
      runtime.output.line(`${MARKS[state]}  ${name.padEnd(13)} ${detail}`);
      if (hint !== undefined) runtime.output.line(`${' '.repeat(23)}${hint}`);
    }
    return checks.find((check) => check.state === 'failed')?.exitCode ?? 0;
  });
}
