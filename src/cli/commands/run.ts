import { type Command, Option } from 'commander';
import { addToEnvironment } from '../../config/env.ts';
import type { CommandHooks, JobCommand } from '../../config/jobs.ts';
import { isVolbakError, messageOf, toVolbakError, VolbakError } from '../../core/errors.ts';
import type { Release } from '../../daemon/lock.ts';
import { readConfig } from '../config.ts';
import { withLabelJobs } from '../labels.ts';
import { duration } from '../options.ts';
import type { Register } from '../program.ts';
import type { Runtime } from '../runtime.ts';

export function define(program: Command, register: Register): void {
  const command = program
    .command('run')
    .description('run a job of volbak.yaml, or of labels, now')
    .argument('[job]', 'its name')
    .addOption(
      new Option('--from-stdin', 'run the command that comes as JSON; stop when stdin ends').hideHelp(),
    );
  register(command, async (runtime, [job], options) => {
    const { fromStdin } = options as { fromStdin?: boolean };
    if ((job === undefined) !== (fromStdin ?? false))
      throw new VolbakError('USAGE', 'no job was named', { hint: '`volbak schedule` lists the jobs.' });
    const command = job === undefined ? await handedOver() : await commandOfJob(runtime, job);
    addToEnvironment(command.environment);
    const release = await lock(runtime, command);
    let exit: number | undefined;
    try {
      const work = () => runtime.commandLine([...manners(runtime), ...command.argv]);
      exit = await (command.hooks ? withJobHooks(runtime, command.hooks, work) : work());
      return exit;
    } catch (error) {
      exit = toVolbakError(error).exitCode;
      throw error;
    } finally {
      await release?.(exit);
    }
  });
}

/** Against a second run of the job. Raises JOB_BUSY; a state directory that cannot be written to keeps no job from running. */
async function lock(runtime: Runtime, { job, run }: JobCommand): Promise<Release | undefined> {
  if (job === undefined) return undefined;
  const { lockJob } = await import('../../daemon/lock.ts');
  try {
    return await lockJob(runtime.environment.stateDirectory, { job, run }, runtime.signal);
  } catch (error) {
    if (isVolbakError(error) || runtime.signal.aborted) throw error;
    const message = `it cannot be noted that ${job} runs: ${messageOf(error)}`;
    runtime.output.emit({ event: 'warning', message });
    return undefined;
  }
}

/** Runs a job between what is run in a container. Raises HANDLER_FAILED, NOT_FOUND_IN_ENGINE. */
async function withJobHooks(
  runtime: Runtime,
  { host, container, before, after, timeout }: CommandHooks,
  work: () => Promise<number>,
): Promise<number> {
  const [{ withHooks }, { inspectContainer }] = await Promise.all([
    import('../../jobs/hooks.ts'),
    import('../../engine/source.ts'),
  ]);
  const engine = await runtime.connect(host);
  const { Id: id } = await inspectContainer(engine, container);
  const hooks = (one: CommandHooks['before']) =>
    one ? [{ ...one, timeout: duration(timeout), 'on-error': 'fail' as const }] : [];
  return withHooks(
    { engine, id, name: container },
    { before: hooks(before), after: hooks(after) },
    { emit: runtime.output.emit, signal: runtime.signal },
    work,
  );
}

async function commandOfJob(runtime: Runtime, job: string): Promise<JobCommand> {
  const { commandOf } = await import('../../config/jobs.ts');
  const config = await readConfig(runtime);
  return commandOf(
    Object.hasOwn(config.jobs, job) ? config : (await withLabelJobs(runtime, config)).config,
    job,
  );
}

/** What was said to `run` about how to speak and work; what the job says comes behind it, and counts. */
export function manners({ options }: Runtime): string[] {
  return [
    ...(options.repo === undefined ? [] : [`--repo=${options.repo}`]),
    ...(options.host === undefined ? [] : [`--host=${options.host}`]),
    ...(options.context === undefined ? [] : [`--context=${options.context}`]),
    ...(options.json ? ['--json'] : []),
    ...(options.quiet ? ['--quiet'] : []),
    ...(options.verbose ? ['--verbose'] : []),
    ...(options.color ? [] : ['--no-color']),
    ...(options.progress ? [] : ['--no-progress']),
    ...(options.lane === undefined ? [] : [`--lane=${options.lane}`]),
    ...(options.helperImage === undefined ? [] : [`--helper-image=${options.helperImage}`]),
    ...(options.trust ? ['--trust'] : []),
  ];
}

/**
 * The daemon hands a command over on standard input, one line of JSON: arguments may hold secrets, and everybody sees those
 * of a process. The daemon's end is that of standard input, and then this command stops as it does after SIGTERM.
 */
function handedOver(): Promise<JobCommand> {
  return new Promise((resolve, reject) => {
    let text = '';
    let read = false;
    process.stdin.setEncoding('utf8');
    process.stdin.on('data', (chunk: string) => {
      if (read) return;
      text += chunk;
      if (!text.includes('\n')) return;
      read = true;
      try {
        resolve(JSON.parse(text) as JobCommand);
      } catch (error) {
        reject(new VolbakError('USAGE', 'standard input has no command', { cause: error }));
      }
    });
    process.stdin.on('close', () => {
      if (read) process.kill(process.pid, 'SIGTERM');
      else reject(new VolbakError('USAGE', 'standard input ended before a command came'));
    });
  });
}
