import type { Command } from 'commander';
import { VolbakError } from '../../core/errors.ts';
import { formatBytes } from '../../core/units.ts';
import type { CopiedSnapshot } from '../../jobs/copy/copy.ts';
import type { Register } from '../program.ts';
import type { Runtime } from '../runtime.ts';

interface Options {
  to: string;
  all?: boolean;
}

export function define(program: Command, register: Register): void {
  const command = program
    .command('copy')
    .description('copy snapshots to another repository, only what it lacks')
    .argument('[ref...]', 'snapshots')
    .requiredOption('--to <url>', 'the other repository; made where its place is empty')
    .option('--all', 'every snapshot that it lacks');
  register(command, (runtime, references, options) =>
    run(runtime, references, options as unknown as Options),
  );
}

async function run(runtime: Runtime, references: string[], { to, all }: Options): Promise<number> {
  if (references.length === 0 && !all)
    throw new VolbakError('USAGE', 'no snapshot was named', {
      hint: 'volbak copy <ref…> --to <url>, or --all',
    });
  const from = await runtime.repository();
  const { resolveReference } = await import('../../repository/references.ts');
  const { CopyJob } = await import('../../jobs/copy/copy.ts');
  const names = await from.snapshotNames();
  const chosen = all ? names : references.map((reference) => resolveReference(reference, names));
  // A target that these keys do not open is written to all the same: only what it has cannot be told.
  const target = await runtime.repositoryOrNew(to, 'append');
  if (target.descriptor.id === from.descriptor.id)
    throw new VolbakError('USAGE', 'a repository cannot be copied to itself');
  const job = new CopyJob(runtime.env, from, target);
  const results: CopiedSnapshot[] = [];
  try {
    for (const name of chosen) {
      const result = await job.run(name, await target.snapshotNames());
      results.push(result);
      const what = result.copied
        ? `${formatBytes(result.newBytes)} new, ${formatBytes(result.storedBytes)} stored`
        : 'it was there already';
      runtime.output.line(
        `${result.copied ? 'copied' : 'kept'} snapshot ${result.id} of ${result.source}: ${what}`,
      );
    }
  } finally {
    await job.close();
  }
  runtime.output.summary('copy', 0, { snapshots: results });
  return 0;
}
