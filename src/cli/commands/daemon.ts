import { type Command, Option } from 'commander';
import { systemClock } from '../../core/clock.ts';
import { configOrigin, readConfig, systemZone } from '../config.ts';
import { discoverLabels } from '../labels.ts';
import type { Register } from '../program.ts';
import { jsonLog, textLog } from '../render/log.ts';
import type { Runtime } from '../runtime.ts';
import { VERSION } from '../version.ts';
import { manners } from './run.ts';

interface Options {
  listen?: string;
  log?: 'text' | 'json';
}

export function define(program: Command, register: Register): void {
  const command = program
    .command('daemon')
    .description('run the jobs of volbak.yaml and of labels when they are due; SIGHUP reads it anew')
    .option('--listen <host:port>', 'serve /metrics and /healthz there')
    .addOption(new Option('--log <kind>', 'lines for people, or JSON').choices(['text', 'json']));
  register(command, (runtime, _, options) => run(runtime, options as unknown as Options));
}

async function run(runtime: Runtime, options: Options): Promise<number> {
  const [{ Daemon }, { sdNotify }] = await Promise.all([
    import('../../daemon/daemon.ts'),
    import('../../daemon/sd-notify.ts'),
  ]);
  const { raw } = runtime.environment;
  const { NOTIFY_SOCKET: _, ...environment } = raw;
  const kind = options.log ?? (runtime.options.json ? 'json' : (await readConfig(runtime)).daemon.log);
  const write = (text: string) => runtime.output.raw(text);
  const log = kind === 'json' ? await jsonLog(write) : textLog(write, () => systemClock.now());
  if ((await configOrigin(runtime)).labelsAlone)
    log.info('there is no volbak.yaml here: jobs come from labels of containers alone');
  let reload = () => {};
  // Elsewhere a hang-up ends a command.
  process.removeAllListeners('SIGHUP');
  process.on('SIGHUP', () => reload());
  await Daemon.run(
    {
      readConfig: () => readConfig(runtime),
      discover: discoverLabels(runtime),
      program: {
        file: process.execPath,
        arguments: [...process.execArgv, process.argv[1] as string],
        environment,
      },
      manners: manners(runtime).filter((word) => !['--quiet', '--verbose'].includes(word)),
      stateDirectory: runtime.environment.stateDirectory,
      systemZone: systemZone(),
      version: VERSION,
      clock: systemClock,
      log,
      signal: runtime.signal,
      listen: options.listen,
      notify: (...words) => sdNotify(raw, `--pid=${process.pid}`, ...words),
    },
    (daemon) => {
      reload = () => void daemon.reload();
    },
  );
  return 0;
}
