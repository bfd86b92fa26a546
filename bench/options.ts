import { parseArgs } from 'node:util';
import { FULL_GIGABYTES } from './data/sets.ts';

export interface Options {
  host: string;
  work: string;
  rounds: number;
  /** 1 where the tree has 1.3 GB. */
  scale: number;
  only: string[];
  large: boolean;
  grown: boolean;
  million: boolean;
  stores: boolean;
  daemon: boolean;
  migrate: boolean;
}

/** Arguments of main.ts; raises on what makes no sense, before minutes have passed. */
export function options(): Options {
  const { positionals, values } = parseArgs({
    allowPositionals: true,
    options: {
      runs: { type: 'string', default: '5' },
      gigabytes: { type: 'string', default: `${FULL_GIGABYTES}` },
      only: { type: 'string', default: '' },
      large: { type: 'boolean', default: false },
      growth: { type: 'boolean', default: false },
      million: { type: 'boolean', default: false },
      stores: { type: 'boolean', default: false },
      daemon: { type: 'boolean', default: false },
      migrate: { type: 'boolean', default: false },
    },
  });
  const [host = '', work = ''] = positionals;
  const rounds = Number(values.runs);
  if (!Number.isInteger(rounds) || rounds < 1)
    throw new Error(`--runs takes a whole number from 1, not ${values.runs}`);
  const gigabytes = Number(values.gigabytes);
  if (!(gigabytes > 0)) throw new Error(`--gigabytes takes a number above 0, not ${values.gigabytes}`);
  return {
    host,
    work,
    rounds,
    scale: gigabytes / FULL_GIGABYTES,
    only: values.only.split(',').filter((name) => name !== ''),
    large: values.large,
    grown: values.growth,
    million: values.million,
    stores: values.stores,
    daemon: values.daemon,
    migrate: values.migrate,
  };
}
