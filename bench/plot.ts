import * as vega from 'vega';
import { compile, type TopLevelSpec } from 'vega-lite';
import type { SetResult } from './cases.ts';
import { Figures } from './figures.ts';

const COLOURS: Record<string, string> = {
  volbak: '#1f77b4',
  restic: '#ff7f0e',
  borg: '#2ca02c',
  tar: '#7f7f7f',
  'tar inside': '#a6a6a6',
  'one-liner': '#c7c7c7',
};

interface Bar {
  what: string;
  tool: string;
  seconds: number;
  label: string;
}

function bars(results: SetResult[]): Bar[] {
  const f = new Figures(results);
  return results.flatMap(({ set, cases, samples }) =>
    [...cases].flatMap(([name, title]) =>
      Object.keys(COLOURS)
        .filter((tool) => samples.some((sample) => sample.case === name && sample.tool === tool))
        .map((tool) => {
          const seconds = f.value('seconds', set.name, name, tool);
          return { what: `${set.name}: ${title}`, tool, seconds, label: `${seconds.toFixed(2)} s` };
        }),
    ),
  );
}

/** A chart for each case, a bar for each tool: medians in seconds, each chart with its own scale. SVG text. */
export async function plot(results: SetResult[]): Promise<string> {
  const values = bars(results);
  const tools = Object.keys(COLOURS).filter((tool) => values.some((bar) => bar.tool === tool));
  const y = { field: 'tool', type: 'nominal', sort: tools, title: null } as const;
  const x = { field: 'seconds', type: 'quantitative', title: 'seconds', scale: { zero: true } } as const;
  const spec: TopLevelSpec = {
    background: 'white',
    padding: 12,
    title: { text: 'Seconds (median), less is better; each case has its own scale', anchor: 'start' },
    data: { values },
    facet: {
      field: 'what',
      type: 'nominal',
      sort: [...new Set(values.map(({ what }) => what))],
      title: null,
      header: { labelAnchor: 'start', labelFontSize: 11, labelFontWeight: 'bold' },
    },
    columns: 3,
    spec: {
      width: 240,
      height: { step: 18 },
      layer: [
        {
          mark: 'bar',
          encoding: {
            y,
            x,
            color: {
              field: 'tool',
              type: 'nominal',
              scale: { domain: tools, range: tools.map((tool) => COLOURS[tool] as string) },
              legend: null,
            },
          },
        },
        {
          mark: { type: 'text', align: 'left', dx: 3, fontSize: 10 },
          encoding: { y, x, text: { field: 'label', type: 'nominal' } },
        },
      ],
    },
    resolve: { scale: { x: 'independent', y: 'independent' } },
  };
  const view = new vega.View(vega.parse(compile(spec).spec), { renderer: 'none' });
  const svg = await view.toSVG();
  view.finalize();
  return `${svg}\n`;
}
