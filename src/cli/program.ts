import { Command, Help, Option } from 'commander';
import { printableText } from '../core/bytes.ts';
import { toVolbakError, VolbakError } from '../core/errors.ts';
import * as backup from './commands/backup.ts';
import * as completion from './commands/completion.ts';
import * as copy from './commands/copy.ts';
import * as daemon from './commands/daemon.ts';
import * as diff from './commands/diff.ts';
import * as doctor from './commands/doctor.ts';
import * as drill from './commands/drill.ts';
import * as exporting from './commands/export.ts';
import * as fleet from './commands/fleet.ts';
import * as forget from './commands/forget.ts';
import * as handle from './commands/handle.ts';
import * as helper from './commands/helper.ts';
import * as importing from './commands/import.ts';
import * as init from './commands/init.ts';
import * as key from './commands/key.ts';
import * as ls from './commands/ls.ts';
import * as migrate from './commands/migrate.ts';
import * as prune from './commands/prune.ts';
import * as recipes from './commands/recipes.ts';
import * as recover from './commands/recover.ts';
import * as restore from './commands/restore.ts';
import * as run from './commands/run.ts';
import * as schedule from './commands/schedule.ts';
import * as show from './commands/show.ts';
import * as snapshots from './commands/snapshots.ts';
import * as validate from './commands/validate.ts';
import * as verify from './commands/verify.ts';
import { byteRate, duration, positiveInteger } from './options.ts';
import type { Output } from './render/output.ts';
import { type GlobalOptions, Runtime } from './runtime.ts';
import { VERSION } from './version.ts';

/** Registers an action: it gets a runtime, and its result is the exit code. */
export type Register = (
  command: Command,
  action: (runtime: Runtime, args: string[], options: Record<string, never>) => Promise<number>,
) => void;

const COMMANDS = [
  init,
  backup,
  snapshots,
  show,
  ls,
  diff,
  restore,
  exporting,
  importing,
  verify,
  copy,
  key,
  forget,
  prune,
  drill,
  handle,
  migrate,
  recipes,
  daemon,
  fleet,
  run,
  schedule,
  validate,
  recover,
  helper,
  doctor,
  completion,
];

/** Commands that show something: with --json they print one document. */
const SHOWING = new Set([
  'snapshots',
  'show',
  'ls',
  'diff',
  'doctor',
  'helper',
  'key',
  // fleet status and fleet node
  'status',
  'node',
  'recipes',
  'schedule',
  'validate',
  'completion',
]);

/** Streams that the command line writes to. */
export interface Streams {
  stdout(text: string): void;
  stderr(text: string): void;
  isTerminal: boolean;
}

/** Complaints about usage repeat what was typed, and that may come from a script. */
function safeError({ stderr }: Streams): (text: string) => void {
  return (text) => stderr(text.split('\n').map(printableText).join('\n'));
}

const plainHelp = new Help();

/** Nobody needs to read that what can be repeated is `[]` at first. */
function describeOption(option: Option): string {
  const text = plainHelp.optionDescription(option);
  return Array.isArray(option.defaultValue) ? text.replace(/ \(default: \[\]\)$/, '') : text;
}

function buildProgram(register: Register, streams: Streams): Command {
  const program = new Command('volbak');
  program
    .description('Back up, restore, move and prove Docker volumes.')
    .version(VERSION, '-V, --version')
    .option('-H, --host <docker-host>', 'engine: unix://, tcp:// or ssh:// (DOCKER_HOST)')
    .option('--context <name>', 'engine of this docker context')
    .option('--repo <url>', 'repository: a path or URL (VOLBAK_REPO)')
    .option('--config <file>', 'jobs and schedules: volbak.yaml (VOLBAK_CONFIG)')
    .option('--json', 'print JSON: lines while working, one document when showing')
    .option('-q, --quiet', 'only results, warnings and errors')
    .option('-v, --verbose', 'more about errors')
    .option('--no-color', 'no colours')
    .option('--no-progress', 'no progress bar')
    .addOption(new Option('--lane <lane>', 'how data leaves helpers').choices(['auto', 'pipe', 'attach']))
    .option('--helper-image <image>', 'image of the helper containers (VOLBAK_HELPER_IMAGE)')
    .option('--parallel <n>', 'segments under way at once', positiveInteger)
    .option('--limit-upload <rate>', 'bytes per second to the repository: 500k, 10M', byteRate)
    .option('--limit-download <rate>', 'bytes per second from the repository', byteRate)
    .addOption(
      new Option('--retry-for <duration>', 'how long to try a store that does not answer')
        .argParser(duration)
        .default(120_000, '2m'),
    )
    .option('--trust', 'take unknown writers of an encrypted repository for known from now on')
    .showHelpAfterError('(volbak --help lists commands and options)')
    .configureOutput({ writeOut: streams.stdout, writeErr: safeError(streams) })
    .configureHelp({ optionDescription: describeOption })
    .exitOverride();
  for (const { define } of COMMANDS) define(program, register);
  for (const command of program.commands)
    command.exitOverride().configureOutput({ writeOut: streams.stdout, writeErr: safeError(streams) });
  return program;
}

/** Runs the command line; resolves with the exit code and never throws. */
export async function runCommandLine(
  argv: readonly string[],
  streams: Streams,
  signal: AbortSignal,
): Promise<number> {
  let exitCode = 0;
  const program = buildProgram((command, action) => {
    command.action(async (...parameters: unknown[]) => {
      const own = parameters.at(-1) as Command;
      exitCode = await runAction(own, streams, signal, action);
    });
  }, streams);
  try {
    await program.parseAsync([...argv], { from: 'user' });
    return exitCode;
  } catch (error) {
    return usageExit(error, argv, streams);
  }
}

/** Commander throws for help, version and wrong usage; only the last is a failure. */
function usageExit(error: unknown, argv: readonly string[], streams: Streams): number {
  const { exitCode, code, message } = error as { exitCode?: number; code?: string; message?: string };
  if (code === undefined || !code.startsWith('commander.')) throw error;
  if (exitCode === 0) return 0;
  if (code === 'commander.help') return 2;
  if (argv.includes('--json')) {
    const text = (message ?? '').replace(/^error: /, '');
    streams.stdout(`${JSON.stringify({ event: 'error', code: 'USAGE', message: text, exit: 2 })}\n`);
  }
  return 2;
}

async function runAction(
  command: Command,
  streams: Streams,
  signal: AbortSignal,
  action: Parameters<Register>[1],
): Promise<number> {
  const global = command.optsWithGlobals() as GlobalOptions;
  const output = await openOutput(global, streams, SHOWING.has(command.name()));
  const runtime = new Runtime(global, output, signal, (argv) => runCommandLine(argv, streams, signal));
  try {
    return await action(runtime, command.args, command.opts() as Record<string, never>);
  } catch (error) {
    const failure =
      signal.aborted && signal.reason instanceof VolbakError ? signal.reason : toVolbakError(error);
    output.failure(failure);
    return failure.exitCode;
  } finally {
    await runtime.close();
  }
}

async function openOutput(global: GlobalOptions, streams: Streams, showing: boolean): Promise<Output> {
  if (global.json) return (await import('./render/json.ts')).jsonOutput(streams, showing);
  const { textOutput } = await import('./render/text.ts');
  const { readEnvironment } = await import('../config/env.ts');
  return textOutput(streams, {
    quiet: global.quiet ?? false,
    verbose: global.verbose ?? false,
    color: global.color && streams.isTerminal && !readEnvironment().noColor,
    progress: global.progress && streams.isTerminal && !global.quiet,
  });
}
