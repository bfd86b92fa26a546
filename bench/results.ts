import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import type { SetResult } from './cases.ts';
import { plot } from './plot.ts';
import { growthTable, table } from './report.ts';
import { type Verdict, verdicts } from './targets.ts';

interface Files {
  results: string;
  plot: string;
  /** What is said beside the figures, if it is there. */
  notes: string;
}

interface Given {
  versionSeconds: number;
  machine: string[];
  method: string[];
}

/** All that was measured so far; written anew with each addition, as a run takes an hour and more. */
export class Results {
  readonly #files: Files;
  readonly #given: Given;
  readonly #sets: SetResult[] = [];
  readonly #grown: SetResult[] = [];
  readonly #tables: string[] = [];
  readonly #verdicts: Verdict[] = [];

  constructor(files: Files, given: Given) {
    this.#files = files;
    this.#given = given;
  }

  async addSet(result: SetResult, rounds: number): Promise<void> {
    this.#sets.push(result);
    await this.addTable(table(result, rounds));
  }

  async addGrown(title: string, results: SetResult[]): Promise<void> {
    this.#grown.push(...results);
    await this.addTable(growthTable(title, results));
  }

  async addTable(lines: string[], reached: Verdict[] = []): Promise<void> {
    this.#tables.push(...lines);
    this.#verdicts.push(...reached);
    writeFileSync(this.#files.results, this.text());
    // With the daemon alone there is nothing to compare.
    if (this.#sets.length > 0) writeFileSync(this.#files.plot, await plot(this.#sets));
  }

  text(): string {
    const { notes } = this.#files;
    const { versionSeconds, machine, method } = this.#given;
    return [
      '# Measurements',
      '',
      'Written by `npm run bench`.',
      '',
      '## What must be reached',
      '',
      ...verdicts(this.#sets, this.#grown, versionSeconds, this.#verdicts),
      '',
      ...(existsSync(notes) ? [readFileSync(notes, 'utf8').trim(), ''] : []),
      '![Seconds of all cases and tools](results.svg)',
      '',
      ...this.#tables,
      ...method,
      '## Machine',
      '',
      ...machine.map((line) => `- ${line}`),
      '',
    ].join('\n');
  }
}
