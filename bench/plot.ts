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
  tool: string;
  seconds: number;
  label: string;
}

function bars(f: Figures, { set, samples }: SetResult, name: string): Bar[] {
  return Object.keys(COLOURS)
    .filter((tool) => samples.some((sample) => sample.case === name && sample.tool === tool))
    .map((tool) => {
      const seconds = f.value('seconds', set.name, name, tool);
      return { tool, seconds, label: `${seconds.toFixed(2)} s` };
    });
}

/** One chart: bars with their values beside them, which is why the scale goes on behind the longest one. */
function chart(set: string, title: string, values: Bar[]) {
  const longest = Math.max(...values.map(({ seconds }) => seconds));
  const tools = values.map(({ tool }) => tool);
  const y = {
    field: 'tool',
    type: 'nominal',
    sort: tools,
    title: null,
    axis: { minExtent: 60, domain: false, ticks: false },
  } as const;
  const x = {
    field: 'seconds',
    type: 'quantitative',
    title: null,
    axis: { tickCount: 4 },
    scale: { domain: [0, longest * 1.25] as number[] },
  } as const;
  const color = {
    field: 'tool',
    type: 'nominal',
    scale: { domain: Object.keys(COLOURS), range: Object.values(COLOURS) },
    legend: null,
  } as const;
  return {
    title: {
      text: title,
      subtitle: set,
      anchor: 'start' as const,
      frame: 'bounds' as const,
      fontSize: 10,
      subtitleFontSize: 10,
    },
    data: { values },
    width: 300,
    height: { step: 18 },
    layer: [
      { mark: 'bar' as const, encoding: { y, x, color } },
      {
        mark: { type: 'text' as const, align: 'left' as const, dx: 3, fontSize: 10 },
        encoding: { y, x, text: { field: 'label', type: 'nominal' as const } },
      },
    ],
  };
}

/** A chart for each case, a bar for each tool: medians in seconds, each chart with its own scale. SVG text. */
export async function plot(results: SetResult[]): Promise<string> {
  const f = new Figures(results);
  const spec: TopLevelSpec = {
    background: 'white',
    padding: 12,
    title: {
      text: 'Seconds (median), less is better; each case has its own scale',
      anchor: 'start',
      offset: 12,
    },
    columns: 3,
    concat: results.flatMap((result) =>
      [...result.cases].map(([name, title]) => chart(result.set.name, title, bars(f, result, name))),
    ),
    resolve: { scale: { color: 'shared' } },
    config: { view: { stroke: null } },
  };
  const view = new vega.View(vega.parse(compile(spec).spec), { renderer: 'none' });
  const svg = await view.toSVG();
  view.finalize();
  return `${svg}\n`;
}
