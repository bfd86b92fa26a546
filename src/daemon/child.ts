import { type ChildProcess, spawn } from 'node:child_process';
import type { JobCommand } from '../config/jobs.ts';
import { ERROR_CODES } from '../core/errors.ts';
import { LineSplitter } from '../core/lines.ts';
import { processIdentity } from '../core/process-identity.ts';

/** How volbak itself is started. */
export interface Program {
  file: string;
  arguments: readonly string[];
  environment: NodeJS.ProcessEnv;
}

/** What became of a command: its exit code (of one that a signal ended none), and the last things that it said. */
export interface Ended {
  exit: number | undefined;
  signal?: string;
  summary?: Record<string, unknown>;
  error?: { code?: string; message?: string; hint?: string };
}

export interface Told {
  event: string;
  message?: string;
  text?: string;
}

export interface Child {
  /** Names the process for a later daemon. */
  identity: string;
  /** Lets it stop cleanly. */
  stop(): void;
  ended: Promise<Ended>;
}

/**
 * Runs a command in a process of its own: see docs/adr/0012. It is told what to do on standard input, and its end, also by
 * kill -9 of this process, is its sign to stop.
 */
export function startChild(program: Program, command: JobCommand, tell: (told: Told) => void): Child {
  const child = spawn(
    program.file,
    [...program.arguments, 'run', '--from-stdin', '--json', '--no-progress'],
    {
      env: program.environment,
      stdio: ['pipe', 'pipe', 'pipe'],
      // Ctrl-C is for the daemon, which decides what becomes of its jobs.
      detached: true,
    },
  );
  child.stdin.on('error', () => {});
  child.stdin.write(`${JSON.stringify(command)}\n`);
  return {
    identity: child.pid === undefined ? '' : processIdentity(child.pid),
    stop: () => void child.kill('SIGTERM'),
    ended: result(child, tell),
  };
}

function result(child: ChildProcess, tell: (told: Told) => void): Promise<Ended> {
  const last: Pick<Ended, 'summary' | 'error'> = {};
  const out = new LineSplitter((line) => {
    const told = parse(line);
    if (told.event === 'summary') last.summary = told as unknown as Record<string, unknown>;
    else if (told.event === 'error') last.error = told as unknown as NonNullable<Ended['error']>;
    else tell(told);
  });
  const err = new LineSplitter((line) => tell({ event: 'stderr', text: line }));
  child.stdout?.on('data', (bytes: Buffer) => out.push(bytes));
  child.stderr?.on('data', (bytes: Buffer) => err.push(bytes));
  return new Promise((resolve) => {
    child.once('error', ({ message }) => resolve({ exit: ERROR_CODES.UNEXPECTED, error: { message } }));
    child.once('close', (code, signal) => {
      out.end();
      err.end();
      resolve({ exit: code ?? undefined, ...(signal === null ? {} : { signal }), ...last });
    });
  });
}

function parse(line: string): Told {
  try {
    const value: unknown = JSON.parse(line);
    if (typeof value === 'object' && value !== null && 'event' in value) return value as Told;
  } catch {
    // What is no JSON was printed by something else.
  }
  return { event: 'stdout', text: line };
}
