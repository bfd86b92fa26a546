import type { Sample, SetResult } from './cases.ts';
import { median } from './measure.ts';

export const MB = 1e6;
export const MiB = 1024 * 1024;
export const PEERS = ['restic', 'borg'];
export const PLAIN = ['tar', 'tar inside'];

/** Looks samples up: all figures of the report are medians over the rounds, memory excepted, which is the highest. */
export class Figures {
  private readonly results: SetResult[];

  constructor(results: SetResult[]) {
    this.results = results;
  }

  samples(set: string, name: string, tool: string): Sample[] {
    const found = this.results.find((result) => result.set.name === set);
    return found?.samples.filter((sample) => sample.case === name && sample.tool === tool) ?? [];
  }

  /** NaN where it was not measured. */
  value(
    key: 'seconds' | 'added' | 'stored' | 'readBytes',
    set: string,
    name: string,
    tool = 'volbak',
  ): number {
    return median(this.samples(set, name, tool).map((sample) => sample[key] ?? Number.NaN));
  }

  /** The lowest value that one of several tools has; NaN where none of them was measured. */
  best(key: 'seconds' | 'added' | 'stored', set: string, name: string, tools: string[]): number {
    const values = tools
      .map((tool) => this.value(key, set, name, tool))
      .filter((value) => !Number.isNaN(value));
    return values.length === 0 ? Number.NaN : Math.min(...values);
  }

  has(set: string, name: string): boolean {
    return this.samples(set, name, 'volbak').length > 0;
  }

  /** Highest memory of volbak in all cases of each set. */
  peaks(): Sample[] {
    return this.results.flatMap(({ samples }) =>
      samples
        .filter(({ tool }) => tool === 'volbak')
        .sort((a, b) => b.peakBytes - a.peakBytes)
        .slice(0, 1),
    );
  }
}

/** Bytes with a unit that suits them. */
export function bytes(value: number): string {
  if (value >= 1e9) return `${(value / 1e9).toFixed(2)} GB`;
  if (value >= 1e6) return `${(value / MB).toFixed(1)} MB`;
  return `${(value / 1000).toFixed(1)} kB`;
}
