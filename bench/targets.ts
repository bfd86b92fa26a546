import type { SetResult } from './cases.ts';
import { bytes, Figures, MB, MiB, PEERS, PLAIN } from './figures.ts';

/** One line of what must be reached. */
export interface Verdict {
  what: string;
  against: string;
  needed: string;
  reached: string;
  met: boolean;
}

const MEMORY_LIMIT = 400 * MB;
const VERSION_LIMIT = 0.15;
const NEW_BYTES_LIMIT = 4 * MiB;
const RESTIC_OR_BORG = 'restic, borg (best of both)';

/** How many times as fast volbak is as the best of some tools. */
function speed(
  f: Figures,
  set: string,
  name: string,
  tools: string[],
  against: string,
  least: number,
): Verdict[] {
  const ratio = f.best('seconds', set, name, tools) / f.value('seconds', set, name);
  if (Number.isNaN(ratio)) return [];
  return [
    {
      what: `${set}: ${name}`,
      against,
      needed: `${least} times as fast`,
      reached: `${ratio.toFixed(2)} times`,
      met: ratio >= least,
    },
  ];
}

/** How many times their bytes volbak stores or adds. */
function share(
  f: Figures,
  key: 'added' | 'stored',
  set: string,
  name: string,
  needed: string,
  most: number,
): Verdict[] {
  const ratio = f.value(key, set, name) / f.best(key, set, name, PEERS);
  if (Number.isNaN(ratio)) return [];
  return [
    {
      what: `${set}: bytes ${key}, ${name}`,
      against: RESTIC_OR_BORG,
      needed,
      reached: `${ratio.toFixed(key === 'stored' ? 3 : 2)} times (${bytes(f.value(key, set, name))})`,
      met: ratio <= most,
    },
  ];
}

function newBytes(f: Figures, set: string, name: string): Verdict[] {
  const value = f.value('added', set, name);
  if (Number.isNaN(value)) return [];
  return [
    {
      what: `${set}: ${name}`,
      against: '',
      needed: 'at most 4 MiB added',
      reached: bytes(value),
      met: value <= NEW_BYTES_LIMIT,
    },
  ];
}

function nothingRead(f: Figures, set: string): Verdict[] {
  const value = f.value('readBytes', set, 'unchanged');
  if (Number.isNaN(value)) return [];
  return [
    {
      what: `${set}: unchanged, content read`,
      against: '',
      needed: 'nothing',
      reached: bytes(value),
      met: value === 0,
    },
  ];
}

function memory(f: Figures): Verdict[] {
  return f.peaks().map((peak) => ({
    what: `${peak.set}: peak memory, helper containers included`,
    against: '',
    needed: 'under 400 MB',
    reached: `${(peak.peakBytes / MB).toFixed(0)} MB (${peak.case})`,
    met: peak.peakBytes < MEMORY_LIMIT,
  }));
}

/**
 * The table of what must be reached, with what was; lines that nothing was measured for are left out. Of `growth` only
 * the memory counts. `more` are judged already.
 */
export function verdicts(
  results: SetResult[],
  growth: SetResult[],
  versionSeconds: number,
  more: Verdict[],
): string[] {
  const f = new Figures(results);
  const sets = results.map(({ set }) => set.name);
  const plain = 'tar and zstd -3 -T0 (best of piped and inside)';
  const all: Verdict[] = [
    ...speed(f, 'tree', 'first', PLAIN, plain, 0.9),
    ...speed(f, 'tree', 'first', PEERS, RESTIC_OR_BORG, 1.5),
    ...sets.flatMap((set) => [
      ...speed(f, set, 'unchanged', PEERS, RESTIC_OR_BORG, 2),
      ...nothingRead(f, set),
    ]),
    ...sets.flatMap((set) => speed(f, set, 'changed', PEERS, RESTIC_OR_BORG, 1.5)),
    ...share(f, 'added', 'database', 'changed', 'at most 0.8 times', 0.8),
    ...['tree', 'small'].flatMap((set) => share(f, 'added', set, 'changed', 'at most 3 times', 3)),
    ...newBytes(f, 'database', 'byte'),
    ...['added', 'touched', 'renamed'].flatMap((name) => newBytes(f, 'tree', name)),
    ...sets.flatMap((set) => share(f, 'stored', set, 'first', 'at most 1.02 times', 1.02)),
    ...sets.flatMap((set) => [
      ...speed(f, set, 'restore', PLAIN, 'zstd -d and tar -x (best of piped and inside)', 0.9),
      ...speed(f, set, 'restore', ['restic'], 'restic', 1.3),
    ]),
    ...memory(new Figures([...results, ...growth])),
    ...more,
    {
      what: '`volbak --version`',
      against: '',
      needed: `at most ${VERSION_LIMIT} s`,
      reached: `${versionSeconds.toFixed(3)} s`,
      met: versionSeconds <= VERSION_LIMIT,
    },
  ];
  const line = (v: Verdict) =>
    `| ${v.met ? 'met' : '**MISSED**'} | ${v.what} | ${v.against} | ${v.needed} | ${v.reached} |`;
  return ['| | case | against | needed | reached |', '|---|---|---|---|---|', ...all.map(line)];
}
