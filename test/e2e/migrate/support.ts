import { cleanupEngine, docker, engines, mountpoint } from '../../support/engine.ts';
import { type Site, type SiteOptions, site } from '../../support/site.ts';
import { afterwards } from '../../support/temp.ts';
import { treeDifferences } from '../../support/trees.ts';

/** A site on the first engine, and what is beside it on the second. */
export interface TwoEngines {
  at: Site;
  other: string;
  /** What differs between a volume of the first engine and one of the second. */
  differences(from: string, to?: string): Promise<string>;
  there(...args: string[]): Promise<string>;
}

export async function twoEngines(options: SiteOptions = {}): Promise<TwoEngines> {
  const at = await site(options);
  const other = engines().b;
  afterwards(() => cleanupEngine(other, at.name()));
  return {
    at,
    other,
    differences: async (from, to = from) =>
      treeDifferences(await mountpoint(at.host, from), await mountpoint(other, to)),
    there: (...args) => docker(other, ...args),
  };
}

/** A running container that runs a script in its volume when it is stopped: what a live pass cannot have seen. */
export async function changingAtStop(at: Site, volume: string, script: string): Promise<string> {
  const name = at.name('app');
  const body = `cd /data; trap '${script.replaceAll("'", "'\\''")}; exit 0' TERM; echo up >/tmp/up; while :; do sleep 0.05; done`;
  const args = ['--network', 'none', '--name', name, '-v', `${volume}:/data`];
  await at.docker('run', '-d', '-t', ...args, 'toolbox', 'sh', '-c', body);
  for (let tries = 0; (await at.docker('exec', name, 'ls', '/tmp')) !== 'up' && tries < 100; tries++);
  return name;
}

/** A container's state: running, exited, … */
export function stateOf(at: Site, name: string): Promise<string> {
  return at.docker('inspect', '-f', '{{.State.Status}}', name);
}
