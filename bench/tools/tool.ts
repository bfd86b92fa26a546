import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, rmSync, statSync } from 'node:fs';
import path from 'node:path';
import { type Measured, type RunOptions, run } from '../measure.ts';

/** What is backed up: a volume, the container that mounts it at /data, and where it lies on this machine. */
export interface Source {
  container: string;
  volume: string;
  directory: string;
}

/** An empty volume to restore into. */
export interface Target {
  volume: string;
  directory: string;
}

/** Runs a command of a tool, timed, and samples its memory. */
export type Timed = (
  command: string,
  args: string[],
  options?: Omit<RunOptions, 'engine'>,
) => Promise<Measured>;

export interface Bench {
  /** URL of the engine. */
  host: string;
  /** Directory that holds all repositories. */
  work: string;
  timed: Timed;
  docker(...args: string[]): string;
}

/** volbak or a peer. Each method is one command as a user would give it; what a tool cannot do it does not have. */
export interface Tool {
  /** Key in results. */
  readonly name: string;
  /** Its commands, for the report. */
  readonly title: string;
  /** Where it stores; its files' sizes are what it stores. */
  readonly repository: string;
  /** Begins with an empty repository; not measured. */
  fresh(): Promise<void>;
  backup?(source: Source): Promise<Measured>;
  restore?(source: Source, target: Target): Promise<Measured>;
  /** Restores one file, named relative to the volume. */
  single?(source: Source, target: Target, file: string): Promise<Measured>;
  /** Writes what was backed up as one plain tar. */
  export?(source: Source, file: string): Promise<Measured>;
  /** Writes the volume as it is now as one plain tar, without a repository. */
  archive?(source: Source, file: string): Promise<Measured>;
}

/** Apparent size of all files below a directory; directories themselves do not count. 0 where there is none yet. */
export function storedBytes(directory: string): number {
  if (!existsSync(directory)) return 0;
  let sum = 0;
  for (const entry of readdirSync(directory, { recursive: true, withFileTypes: true })) {
    if (entry.isFile()) sum += statSync(path.join(entry.parentPath, entry.name)).size;
  }
  return sum;
}

export function remove(...places: string[]): void {
  for (const place of places) rmSync(place, { recursive: true, force: true });
}

export function bench(host: string, work: string, engine: string): Bench {
  return {
    host,
    work,
    timed: (command, args, options = {}) => run(command, args, { ...options, engine }),
    docker: (...args) =>
      execFileSync('docker', ['-H', host, ...args], {
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'inherit'],
      }).trim(),
  };
}
