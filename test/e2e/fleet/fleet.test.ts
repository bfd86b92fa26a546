import { beforeAll, describe, expect, it } from 'vitest';
import { docker, dockerTry, mountpoint } from '../../support/engine.ts';
import { runScript } from '../../support/run-script.ts';
import { eventually } from '../../support/scene.ts';
import { bash, failure, helperAtWork, helpers, summary, warnings } from '../../support/site.ts';
import { socketProxy } from '../../support/socket-proxy.ts';
import { daemonOf, deployStack, type Sftp, type Swarm, startSftp, startSwarm } from '../../support/swarm.ts';
import { finished, type Json, spawnVolbak, type VolbakResult, volbak } from '../../support/volbak.ts';

let swarm: Swarm;
let sftp: Sftp;
const fleet = (...args: string[]): Promise<VolbakResult> =>
  volbak(['-H', swarm.a, '--json', 'fleet', ...args]);
const jobs = () => docker(swarm.a, 'service', 'ls', '-q', '--filter', 'label=io.volbak.fleet-run');

async function snapshots(): Promise<Json[]> {
  return JSON.parse((await volbak(['--repo', sftp.here, '--json', 'snapshots'])).stdout);
}

/** A container with a volume on one node. */
async function database(host: string, name: string, script: string): Promise<void> {
  await docker(host, 'volume', 'create', `${name}-data`);
  await bash(script, { cwd: await mountpoint(host, `${name}-data`) });
  const options = ['--network', 'none', '--name', name, '-v', `${name}-data:/data`];
  await docker(host, 'run', '-d', ...options, 'sleeper');
}

async function remove(host: string, name: string): Promise<void> {
  await docker(host, 'rm', '-f', name);
  await docker(host, 'volume', 'rm', `${name}-data`);
}

beforeAll(async () => {
  swarm = await startSwarm();
  sftp = await startSftp();
  await deployStack(swarm, sftp);
  await database(swarm.a, 'one', 'echo a >file');
  await database(swarm.b, 'two', 'echo b >file; echo more >other');
}, 600_000);

describe('recipes/swarm', () => {
  it('runs volbak on each node, not as root, with the jobs of its volbak.yaml', async () => {
    for (const host of [swarm.a, swarm.b]) {
      const id = await daemonOf(host);
      expect(await docker(host, 'exec', id, 'id', '-u')).toBe('1000');
      const schedule = await docker(host, 'exec', id, 'volbak', 'schedule');
      expect(schedule).toMatch(/^nightly +backup/m);
      expect(schedule).toMatch(/^tidy +forget +after nightly/m);
      await eventually('the daemon is up', async () => {
        const { stdout } = await dockerTry(host, 'logs', id);
        return /engine answers/.test(stdout);
      });
    }
  });
});

describe('volbak fleet', () => {
  it('status before anything was backed up: the nodes are well, and there is no repository yet', async () => {
    const { exit, stdout } = await fleet('status');
    const nodes: Json[] = JSON.parse(stdout);
    expect(exit).toBe(0);
    expect(nodes.map(({ node, exit, sources }) => ({ node, exit, sources }))).toEqual([
      { node: 'host-a', exit: 0, sources: [] },
      { node: 'host-b', exit: 0, sources: [] },
    ]);
    expect(nodes[1].checks.find((c: Json) => c.name === 'repository').detail).toContain('there is none yet');
    expect(await jobs()).toBe('');
  });

  it('backup: every node backs up its own volumes into one repository, told apart by node; nothing of the job stays', async () => {
    const result = await fleet('backup');
    expect(result.exit, result.stdout).toBe(0);
    const { nodes, command } = summary(result);
    expect(command).toBe('fleet backup');
    expect(nodes.map(({ node, state, exit }: Json) => ({ node, state, exit }))).toEqual([
      { node: 'host-a', state: 'complete', exit: 0 },
      { node: 'host-b', state: 'complete', exit: 0 },
    ]);
    const made = nodes.map(({ result: { snapshots } }: Json) => snapshots.map((s: Json) => s.source));
    expect(made).toEqual([['host-a/container/one'], ['host-b/container/two']]);
    expect((await snapshots()).map(({ source }) => source).sort()).toEqual(made.flat());
    expect(await jobs()).toBe('');
    for (const host of [swarm.a, swarm.b]) {
      expect(await helpers(host)).toBe('');
      const left = () => docker(host, 'ps', '-aq', '--filter', 'name=volbak-fleet-');
      await eventually('its containers are gone', async () => (await left()) === '');
    }
  });

  it('drill: every node proves the newest snapshots of its own sources', async () => {
    const result = await fleet('drill');
    expect(result.exit, result.stdout).toBe(0);
    const { nodes } = summary(result);
    expect(nodes.map((n: Json) => n.result.drills.map((d: Json) => [d.source, d.passed]))).toEqual([
      [['host-a/container/one', true]],
      [['host-b/container/two', true]],
    ]);
  });

  it('status: the newest snapshot of each source of each node, as text and as JSON', async () => {
    const { exit, stdout } = await fleet('status');
    expect(exit).toBe(0);
    expect(JSON.parse(stdout).map(({ node, sources }: Json) => ({ node, sources }))).toMatchObject([
      { node: 'host-a', sources: [{ source: 'container/one', status: 'complete' }] },
      { node: 'host-b', sources: [{ source: 'container/two', status: 'complete' }] },
    ]);
    const text = await volbak(['-H', swarm.a, 'fleet', 'status']);
    expect(text.stdout).toMatch(/^host-a +ready +ok +container\/one +\d{4}-\d\d-\d\d [\d:]+Z +complete$/m);
    expect(text.stdout).toMatch(/^host-b +ready +ok +container\/two /m);
  });

  it('one node that fails makes it fail, with its error; the others do their part', async () => {
    const result = await fleet('backup', '--', 'two');
    expect(result.exit).toBe(21);
    const { nodes } = summary(result);
    expect(nodes.map(({ node, exit }: Json) => ({ node, exit }))).toEqual([
      { node: 'host-a', exit: 21 },
      { node: 'host-b', exit: 0 },
    ]);
    expect(nodes[0]).toMatchObject({ state: 'failed', error: { code: 'NOT_FOUND_IN_ENGINE' } });
    expect(await jobs()).toBe('');
    const text = await volbak(['-H', swarm.a, 'fleet', 'backup', '--', 'two']);
    expect(text.stdout).toMatch(/^host-a: FAILED \(exit 21\): there is no container 'two'/m);
    expect(text.stdout).toMatch(/^host-b: 1 snapshot, /m);
  });

  it('a line longer than those of an engine’s log comes through whole', async () => {
    const name = 'x'.repeat(40_000);
    const { nodes } = summary(await fleet('backup', '--', name));
    expect(nodes.map(({ error }: Json) => error.message.includes(`'${name}'`))).toEqual([true, true]);
  });

  it('works through a proxy before the socket that lets through what the page names', async () => {
    const sections = ['version', 'info', 'containers', 'images', 'nodes', 'services', 'tasks'];
    const { url, asked } = await socketProxy(swarm.a, sections);
    const { exit } = await volbak(['-H', url, '--json', 'fleet', 'status']);
    expect(exit).toBe(0);
    expect([...asked].filter((request) => request.startsWith('403'))).toEqual([]);
  });

  it('interrupted: the job is removed, and what it paused runs again', async () => {
    await database(swarm.b, 'big', 'head -c 600000000 /dev/urandom >big');
    // What is written meanwhile is read again while it is paused.
    const write = 'while sleep 0.1; do echo x >>/data/big; done';
    await docker(swarm.b, 'exec', '--detach', 'big', 'sh', '-c', write);
    const child = await spawnVolbak(['-H', swarm.a, '--json', 'fleet', 'backup', '--', '--all', '--pause']);
    const end = finished(child);
    await helperAtWork(swarm.b, 'read', 60_000);
    const state = () => docker(swarm.b, 'inspect', '-f', '{{.State.Status}}', 'big');
    await eventually('it is paused', async () => (await state()) === 'paused', 60);
    child.kill('SIGTERM');
    expect((await end).exit).toBe(143);
    expect(await jobs()).toBe('');
    await eventually('it runs again', async () => (await state()) === 'running');
    await eventually('no helper is left', async () => (await helpers(swarm.b)) === '');
    expect((await snapshots()).map(({ source }) => source)).not.toContain('host-b/container/big');
    await remove(swarm.b, 'big');
  });

  it('killed: the next fleet command removes its job', async () => {
    await database(swarm.b, 'big', 'head -c 600000000 /dev/urandom >big');
    const child = await spawnVolbak(['-H', swarm.a, '--json', 'fleet', 'backup']);
    const end = finished(child);
    await helperAtWork(swarm.b, 'read', 60_000);
    child.kill('SIGKILL');
    await end;
    const left = await jobs();
    expect(left).not.toBe('');
    expect((await fleet('status')).exit).toBe(0);
    expect(await jobs()).toBe('');
    await eventually('no helper is left', async () => (await helpers(swarm.b)) === '');
    await remove(swarm.b, 'big');
  });

  it('a container of Swarm: its source keeps its name when the task is replaced; it is never stopped', async () => {
    const mount = 'type=volume,source=shop-data,target=/data';
    const options = ['--name', 'shop', '--network', 'host', '--no-resolve-image', '--mount', mount];
    const place = ['--constraint', `node.hostname==host-b`, '--stop-grace-period', '1s'];
    await docker(swarm.a, 'service', 'create', '--quiet', ...options, ...place, 'toolbox', 'sleep', '3600');
    const backup = async () => {
      const { nodes } = summary(await fleet('backup', '--', '--all', '--pause'));
      return nodes[1].result.snapshots.map(({ source }: Json) => source);
    };
    expect(await backup()).toEqual(['host-b/container/shop.1', 'host-b/container/two']);
    await docker(swarm.a, 'service', 'update', '--quiet', '--force', 'shop');
    expect(await backup()).toEqual(['host-b/container/shop.1', 'host-b/container/two']);
    const stop = await volbak(['-H', swarm.b, '--repo', sftp.here, '--json', 'backup', 'shop.1', '--stop']);
    expect(stop.exit).toBe(2);
    expect(failure(stop).message).toContain('Swarm would start another one');
    await docker(swarm.a, 'service', 'rm', 'shop');
  });

  it('too slow for --timeout: stopped, and told', async () => {
    await database(swarm.b, 'big', 'head -c 900000000 /dev/urandom >big');
    const result = await fleet('backup', '--timeout', '6s', '--', 'big');
    const { nodes } = summary(result);
    expect(nodes[1].error.message).toContain('longer than --timeout');
    expect(result.exit).not.toBe(0);
    expect(await jobs()).toBe('');
    await eventually('no helper is left', async () => (await helpers(swarm.b)) === '');
    await remove(swarm.b, 'big');
  });

  it('refuses an engine that is no manager, and a Swarm without the service, in one sentence', async () => {
    const member = await volbak(['-H', swarm.b, '--json', 'fleet', 'status']);
    expect(member.exit).toBe(21);
    expect(failure(member).message).toMatch(/host-b is no manager of a Swarm/);
    const other = await fleet('backup', '--service', 'nothing');
    expect(other.exit).toBe(21);
    expect(failure(other).message).toBe("the Swarm has no service 'nothing'");
  });

  it('a drained node is left alone; one that is down fails the command, and the others do their part', async () => {
    await docker(swarm.a, 'node', 'update', '--availability', 'drain', swarm.nodes.b);
    const drained = summary(await fleet('backup'));
    expect(drained.nodes.map(({ node }: Json) => node)).toEqual(['host-a']);
    expect(drained.exit).toBe(0);
    await docker(swarm.a, 'node', 'update', '--availability', 'active', swarm.nodes.b);
    await bash(`kill -9 "$(cat '${swarm.dir}/b/pid')"`);
    await eventually(
      'the node is down',
      async () => {
        const state = await docker(swarm.a, 'node', 'inspect', '-f', '{{.Status.State}}', swarm.nodes.b);
        return state === 'down';
      },
      60,
    );
    const result = await fleet('backup');
    expect(result.exit).toBe(20);
    expect(summary(result).nodes).toMatchObject([
      { node: 'host-a', exit: 0 },
      { node: 'host-b', exit: 20, state: 'down' },
    ]);
    expect(warnings(result).join()).toContain('host-b');
    expect(await jobs()).toBe('');
    await runScript('engines.sh', ['stop', swarm.dir]);
  });
});
