import { VERSION } from './cli/version.ts';
import { printableText } from './core/bytes.ts';
import { messageOf, VolbakError } from './core/errors.ts';

const abort = new AbortController();

/** The first signal lets the command clean up; a second one ends at once. */
function onSignal(signal: 'SIGINT' | 'SIGTERM' | 'SIGHUP'): void {
  const code = signal === 'SIGINT' ? 'INTERRUPTED' : 'TERMINATED';
  if (abort.signal.aborted) process.exit(signal === 'SIGINT' ? 130 : 143);
  abort.abort(
    new VolbakError(code, signal === 'SIGINT' ? 'interrupted' : 'terminated', {
      hint: 'Helpers were removed and what was stopped was started again.',
    }),
  );
}
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => onSignal(signal));

let lost: NodeJS.ErrnoException | undefined;
// Whoever reads our output may be gone, or the disk full: the command cleans up as after a signal.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  lost ??= error;
  abort.abort(new VolbakError('UNEXPECTED', `cannot write to standard output: ${error.message}`));
});

/** As a shell tells the end of a program whose reader (`| head`) has enough. */
const READER_GONE = 128 + 13;

/** Ends the process with all that was written; a reader who has enough is told nothing more. */
async function end(exitCode: number): Promise<never> {
  await Promise.all([flushed(process.stdout), flushed(process.stderr)]);
  if (!lost) process.exit(exitCode);
  if (lost.code === 'EPIPE') process.exit(READER_GONE);
  process.stderr.write(`error: cannot write to standard output: ${lost.message}\n`);
  process.exit(exitCode || 1);
}

/** Resolves when everything written so far has left the process: pipes are asynchronous. */
function flushed(stream: NodeJS.WriteStream): Promise<void> {
  return new Promise((resolve) => stream.write('', () => resolve()));
}

try {
  const argv = process.argv.slice(2);
  // Scripts ask often: not worth loading the command line.
  if (argv.length === 1 && (argv[0] === '--version' || argv[0] === '-V')) {
    process.stdout.write(`${VERSION}\n`);
    await end(0);
  }
  const { runCommandLine } = await import('./cli/program.ts');
  const exitCode = await runCommandLine(
    argv,
    {
      stdout: (text) => void process.stdout.write(text),
      stderr: (text) => void (lost ?? process.stderr.write(text)),
      isTerminal: process.stderr.isTTY === true,
    },
    abort.signal,
  );
  await end(exitCode);
} catch (error) {
  const text = `error: ${messageOf(error)}\n${error instanceof Error ? error.stack : ''}`;
  process.stderr.write(`${text.split('\n').map(printableText).join('\n')}\n`);
  process.exit(1);
}
