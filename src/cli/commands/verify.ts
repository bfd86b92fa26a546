import { type Command, InvalidArgumentError } from 'commander';
import { printableText } from '../../core/bytes.ts';
import { ERROR_CODES, VolbakError } from '../../core/errors.ts';
import { formatBytes, plural } from '../../core/units.ts';
import type { Damage, VerifyProblem } from '../../jobs/verify/damage.ts';
import type { Repaired } from '../../jobs/verify/repair.ts';
import type { VerifyResult } from '../../jobs/verify/verify.ts';
import type { SnapshotName } from '../../repository/keys.ts';
import type { Repository } from '../../repository/repository.ts';
import type { Register } from '../program.ts';
import type { Runtime } from '../runtime.ts';

interface Options {
  quick?: boolean;
  sample?: { part: number; of: number };
  repair?: string;
}

function parseSample(text: string): { part: number; of: number } {
  const [, part, of] = /^(\d+)\/(\d+)$/.exec(text)?.map(Number) ?? [];
  if (!part || !of || part > of) throw new InvalidArgumentError('It must be like 2/7: part 2 of 7.');
  return { part, of };
}

export function define(program: Command, register: Register): void {
  const command = program
    .command('verify')
    .description('check that snapshots are what was written')
    .argument('[ref...]', 'snapshots; all where none is named')
    .option('--quick', 'structure only, no data is read')
    .option('--sample <n/t>', 'part n of t of the data; t runs cover all', parseSample)
    .option(
      '--repair <url>',
      'bring what is damaged back from this repository, a copy made by `volbak copy`',
    );
  register(command, (runtime, references, options) => run(runtime, references, options as Options));
}

async function run(runtime: Runtime, references: string[], options: Options): Promise<number> {
  const repository = await runtime.repository();
  const { resolveReference } = await import('../../repository/references.ts');
  const all = await repository.snapshotNames();
  const chosen =
    references.length === 0 ? all : references.map((reference) => resolveReference(reference, all));
  const { result, damage } = await check(runtime, repository, chosen, options);
  if (options.repair === undefined || result.errors.length === 0) return report(runtime, result, options);
  const repaired = await repairFrom(runtime, repository, options.repair, chosen, damage);
  for (const id of repaired.repaired) runtime.output.line(`repaired snapshot ${id}`);
  for (const { snapshot, message } of repaired.lost)
    runtime.output.line(`NOT REPAIRED: snapshot ${snapshot}: ${printableText(message)}`);
  const after = await check(runtime, repository, chosen, options);
  return report(runtime, after.result, options, { ...repaired, found: result.errors });
}

async function check(
  runtime: Runtime,
  repository: Repository,
  chosen: readonly SnapshotName[],
  { quick, sample }: Options,
): Promise<{ result: VerifyResult; damage: Damage }> {
  const { VerifyJob } = await import('../../jobs/verify/verify.ts');
  const job = new VerifyJob(runtime.env, repository, {
    quick: quick ?? false,
    ...(sample === undefined ? {} : { sample }),
  });
  return { result: await job.run(chosen), damage: job.damage };
}

async function repairFrom(
  runtime: Runtime,
  repository: Repository,
  url: string,
  chosen: readonly SnapshotName[],
  damage: Damage,
): Promise<Repaired> {
  const { Repository } = await import('../../repository/repository.ts');
  const { repair } = await import('../../jobs/verify/repair.ts');
  const store = await runtime.openStore(url);
  const other = await Repository.open(store, await runtime.access(store, url, 'read'));
  if (other.descriptor.id === repository.descriptor.id)
    throw new VolbakError('USAGE', 'a repository cannot be repaired from itself');
  return repair(runtime.env, repository, other, chosen, damage);
}

function report(
  { output }: Runtime,
  result: VerifyResult,
  { quick }: Options,
  repair?: Repaired & { found: VerifyResult['errors'] },
): number {
  for (const problem of result.errors) output.line(describe(problem));
  const exit = result.errors.length === 0 ? 0 : ERROR_CODES.INTEGRITY;
  const snapshots = plural(result.snapshots, 'snapshot');
  output.line(
    exit === 0
      ? `${quick ? 'structure of ' : ''}${snapshots} verified: ${plural(result.segments, 'segment')}, ${plural(result.frames, 'frame')}, ${formatBytes(result.bytes)}`
      : `${plural(result.errors.length, 'problem')} found in ${snapshots}`,
  );
  output.summary('verify', exit, { ...result, ...repair });
  return exit;
}

function describe({ message, snapshot, volume, segment }: VerifyProblem): string {
  const place = [
    snapshot && `snapshot ${snapshot}`,
    volume && `volume ${volume}`,
    segment && `segment ${segment}`,
  ]
    .filter(Boolean)
    .join(', ');
  return `DAMAGED: ${printableText(place)}: ${printableText(message)}`;
}
