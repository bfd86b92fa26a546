import { eventually } from './scene.ts';
import type { Site } from './site.ts';

/** A running container without network that ends at once when it is stopped; `options` are those of `docker run`. */
export async function running(at: Site, suffix: string, ...options: string[]): Promise<string> {
  const name = at.name(suffix);
  // A network among the options takes the place of none.
  const network = options.includes('--network') ? [] : ['--network', 'none'];
  const all = [...network, '--stop-signal', 'KILL', '--name', name, ...options];
  await at.docker('run', '-d', ...all, 'toolbox', 'sleep', '600');
  return name;
}

/** A running container that runs a script in its volume when it is stopped: what a live pass cannot have seen. */
export async function changingAtStop(at: Site, volume: string, script: string): Promise<string> {
  const name = at.name('app');
  const body = `cd /data; trap '${script.replaceAll("'", "'\\''")}; exit 0' TERM; echo up >/tmp/up; while :; do sleep 0.05; done`;
  const args = ['--network', 'none', '--name', name, '-v', `${volume}:/data`];
  await at.docker('run', '-d', '-t', ...args, 'toolbox', 'sh', '-c', body);
  await eventually(`${name} is up`, async () => (await at.docker('exec', name, 'ls', '/tmp')) === 'up');
  return name;
}

/** A container's state: running, exited, … */
export function stateOf(at: Site, name: string): Promise<string> {
  return at.docker('inspect', '-f', '{{.State.Status}}', name);
}
