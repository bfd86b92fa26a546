import { type Command, InvalidArgumentError } from 'commander';
import { printableText } from '../../core/bytes.ts';
import { ERROR_CODES } from '../../core/errors.ts';
import { formatBytes, plural } from '../../core/units.ts';
import type { Register } from '../program.ts';
import type { Runtime } from '../runtime.ts';

interface Options {
  quick?: boolean;
  sample?: { part: number; of: number };
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
    .option('--sample <n/t>', 'part n of t of the data; t runs cover all', parseSample);
  register(command, (runtime, references, options) => run(runtime, references, options as Options));
}

async function run(runtime: Runtime, references: string[], options: Options): Promise<number> {
  const repository = await runtime.repository();
  const { resolveReference } = await import('../../repository/references.ts');
  const { VerifyJob } = await import('../../jobs/verify/verify.ts');
  const all = await repository.snapshotNames();
  const chosen =
    references.length === 0 ? all : references.map((reference) => resolveReference(reference, all));
  const job = new VerifyJob(runtime.env, repository, {
    quick: options.quick ?? false,
    ...(options.sample === undefined ? {} : { sample: options.sample }),
  });
  const result = await job.run(chosen);
  for (const { message, snapshot, volume, segment } of result.errors) {
    const place = [
      snapshot && `snapshot ${snapshot}`,
      volume && `volume ${volume}`,
      segment && `segment ${segment}`,
    ]
      .filter(Boolean)
      .join(', ');
    runtime.output.line(`DAMAGED: ${printableText(place)}: ${printableText(message)}`);
  }
  const exit = result.errors.length === 0 ? 0 : ERROR_CODES.INTEGRITY;
  const scope = options.quick ? 'structure of' : '';
  runtime.output.line(
    exit === 0
      ? `${[scope, plural(result.snapshots, 'snapshot')].filter(Boolean).join(' ')} verified: ${plural(result.segments, 'segment')}, ${plural(result.frames, 'frame')}, ${formatBytes(result.bytes)}`
      : `${plural(result.errors.length, 'problem')} found in ${plural(result.snapshots, 'snapshot')}`,
  );
  runtime.output.summary('verify', exit, result);
  return exit;
}
