import type { Sample, SetResult } from './cases.ts';
import { bytes, Figures, MB } from './figures.ts';
import type { Tool } from './tools/tool.ts';

const GB = 1e9;

function range(samples: Sample[]): string {
  const all = samples.map(({ seconds }) => seconds);
  return all.length < 2 ? '' : `${Math.min(...all).toFixed(2)} – ${Math.max(...all).toFixed(2)}`;
}

/** One line for each case and tool of a set. */
function lines(f: Figures, result: SetResult): string[] {
  const { set, cases, samples: all, size } = result;
  const rows: string[] = [];
  for (const [name, title] of cases) {
    const tools = [...new Set(all.filter((sample) => sample.case === name).map(({ tool }) => tool))].sort();
    const own = f.value('seconds', set.name, name);
    for (const tool of ['volbak', ...tools.filter((other) => other !== 'volbak')]) {
      const samples = f.samples(set.name, name, tool);
      if (samples.length === 0) continue;
      const seconds = f.value('seconds', set.name, name, tool);
      const peak = Math.max(...samples.map(({ peakBytes }) => peakBytes));
      const cells = [
        tool === 'volbak' ? title : '',
        tool,
        `${seconds.toFixed(2)} s`,
        range(samples),
        tool === 'volbak' ? '' : (seconds / own).toFixed(2),
        ['first', 'restore', 'export', 'archive'].includes(name)
          ? (size.bytes / MB / seconds).toFixed(0)
          : '',
        name === 'first' ? bytes(f.value('stored', set.name, name, tool)) : '',
        cases.get(name)?.startsWith('backup') ? bytes(f.value('added', set.name, name, tool)) : '',
        peak > 0 ? `${(peak / MB).toFixed(0)} MB` : '',
      ];
      rows.push(`| ${cells.join(' | ')} |`);
    }
  }
  return rows;
}

/** A table of all that was measured on one set of data. */
export function table(result: SetResult, rounds: number): string[] {
  const { set, size } = result;
  return [
    `## ${set.title}: ${(size.bytes / GB).toFixed(2)} GB in ${size.files.toLocaleString('en')} ${size.files === 1 ? 'file' : 'files'} (${set.name})`,
    '',
    ...(rounds === 1 ? ['One round.', ''] : []),
    '| case | tool | median | range | times volbak | MB/s | stored | added | peak memory |',
    '|---|---|---|---|---|---|---|---|---|',
    ...lines(new Figures([result]), result),
    '',
  ];
}

/** How seconds and memory grow from one set of data to the next. */
export function growthTable(title: string, results: SetResult[]): string[] {
  const f = new Figures(results);
  const rows = results.flatMap(({ set, size, cases }) =>
    [...cases.keys()].map((name) => {
      const cell = (tool: string) => {
        const [sample] = f.samples(set.name, name, tool);
        if (sample === undefined) return '';
        return `${sample.seconds.toFixed(2)} s, ${(sample.peakBytes / MB).toFixed(0)} MB`;
      };
      const what = `${size.files.toLocaleString('en')} ${size.files === 1 ? 'file' : 'files'}, ${bytes(size.bytes)}`;
      return `| ${what} | ${name} | ${cell('volbak')} | ${cell('restic')} | ${cell('borg')} |`;
    }),
  );
  return [
    `## ${title}`,
    '',
    'Seconds and peak memory, one round.',
    '',
    '| data | case | volbak | restic | borg |',
    '|---|---|---|---|---|',
    ...rows,
    '',
  ];
}

/** What was run, for whoever wants to know what the figures mean. */
export function method(rounds: number, tools: Tool[]): string[] {
  return [
    '## How it was measured',
    '',
    `Medians of ${rounds} ${rounds === 1 ? 'round' : 'rounds'}; all tools in turn in each case of each round, the order turned with every case and round. Each`,
    'round begins with new repositories. Before each case the data is read once, so it is in memory for all; before each',
    'command `sync`. After a change 3 seconds pass, and one small file `stamp` is written newer than the rest (borg reads the',
    'newest file again; with one large file that would be all). Data is made by the benchmark from fixed seeds and from files',
    'of the machine. Restored volumes are compared with the source by names and sizes, outside of the time taken.',
    'They stay until the end, or until there is no room left: ext4 passes by inodes that were removed within the last minute, one by',
    'one, so that extracting after a removal takes several times as long.',
    '',
    'volbak goes through Docker, as do tar and the one-liner. restic and borg run on the host in the directory of the volume,',
    'which is faster for them than a container. restic cannot do without encryption, borg runs without (`--encryption none`);',
    "restic 0.14's compression is its default (`auto`, repository version 2), borg's `zstd,3`. Making their repositories is not",
    'in their times, but is in those of volbak. Syncing to disk is left to each tool: volbak, restic and borg do, tar does not.',
    '',
    'Memory is the highest sum of the resident memory of the command, its children and its containers, sampled every 50 ms;',
    'pages that processes share count for each of them, so this is more than it took. The engine is not in it. "Stored" and',
    '"added" are the sizes of all files of the repository.',
    '',
    ...tools.map(({ name, title }) => `- **${name}**: ${title}`),
    '',
  ];
}
