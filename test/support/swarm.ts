import { copyFile, mkdir } from 'node:fs/promises';
import path from 'node:path';
import { requireVolbakImage, socketGroup, VOLBAK_IMAGE } from './container.ts';
import { requireImages } from './databases.ts';
import { cleanEnv, docker } from './engine.ts';
import { runScript } from './run-script.ts';
import { eventually } from './scene.ts';
import { bash } from './site.ts';
import { freePort } from './store-servers.ts';
import { afterwards, tempDir } from './temp.ts';
import { projectRoot } from './volbak.ts';

/** Two engines of a test's own that are a Swarm: `a` is its manager. */
export interface Swarm {
  a: string;
  b: string;
  dir: string;
  /** Ids of the nodes. */
  nodes: { a: string; b: string };
}

/** Each node listens on a loopback address of its own; there is no bridge, so services use the host's network. */
export async function startSwarm(): Promise<Swarm> {
  const dir = await tempDir('volbak-swarm-');
  afterwards(() => runScript('engines.sh', ['stop', dir]));
  const [a = '', b = ''] = (await runScript('engines.sh', ['start', dir])).trim().split('\n');
  const manager = `127.0.0.1:${await freePort()}`;
  const member = `127.0.0.2:${await freePort()}`;
  await docker(a, 'swarm', 'init', '--advertise-addr', '127.0.0.1', '--listen-addr', manager);
  const token = await docker(a, 'swarm', 'join-token', '--quiet', 'worker');
  const join = ['swarm', 'join', '--advertise-addr', '127.0.0.2', '--listen-addr', member, '--token', token];
  await docker(b, ...join, manager);
  const nodeId = (host: string) => docker(host, 'info', '-f', '{{.Swarm.NodeID}}');
  for (const host of [a, b]) {
    await requireImages(host, 'toolbox');
    await requireVolbakImage(host);
  }
  // As the public images are: what it does by itself goes on.
  const sleeper = `printf 'FROM toolbox\\nCMD ["sleep", "3600"]\\n' | docker -H "$HOST" build --quiet --tag sleeper -`;
  for (const host of [a, b])
    await bash(sleeper, { env: { ...cleanEnv(), HOST: host, DOCKER_BUILDKIT: '0' } });
  return { a, b, dir, nodes: { a: await nodeId(a), b: await nodeId(b) } };
}

/** An SSH server with a directory for the repository. */
export interface Sftp {
  /** As nodes reach it with the stack's secret and configuration. */
  url: string;
  /** As this machine does. */
  here: string;
  keyFile: string;
  knownHosts: string;
  authorizedKeys: string;
  port: number;
  repository: string;
}

export async function startSftp(): Promise<Sftp> {
  const dir = `${await tempDir('volbak-sshd-')}/sshd`;
  const port = await freePort();
  afterwards(() => runScript('sshd.sh', ['stop', dir]));
  await runScript('sshd.sh', ['start', dir, String(port)]);
  const repository = `${await tempDir('volbak-repo-')}/repository`;
  const base = `sftp://root@127.0.0.1:${port}${repository}`;
  return {
    url: `${base}?key=/run/secrets/volbak_ssh_key&known-hosts=/etc/volbak/known_hosts`,
    here: `${base}?key=${dir}/id&known-hosts=${dir}/known_hosts`,
    keyFile: `${dir}/id`,
    knownHosts: `${dir}/known_hosts`,
    authorizedKeys: `${dir}/authorized_keys`,
    port,
    repository,
  };
}

/** Deploys recipes/swarm as its page says, and waits until volbak runs on both nodes. */
export async function deployStack({ a, b }: Swarm, { url, keyFile, knownHosts }: Sftp): Promise<void> {
  const dir = path.join(await tempDir(), 'swarm');
  await mkdir(dir);
  for (const name of ['stack.yml', 'volbak.yaml'])
    await copyFile(path.join(projectRoot, 'recipes/swarm', name), path.join(dir, name));
  await docker(a, 'secret', 'create', 'volbak_ssh_key', keyFile);
  const env = {
    ...cleanEnv(),
    VOLBAK_IMAGE,
    VOLBAK_REPO: url,
    VOLBAK_KNOWN_HOSTS: knownHosts,
    DOCKER_GID: await socketGroup(a),
  };
  const deploy = `docker -H '${a}' stack deploy --resolve-image never --compose-file stack.yml volbak`;
  await bash(deploy, { cwd: dir, env });
  for (const host of [a, b])
    await eventually('volbak runs on the node', () => daemonOf(host).then((id) => id !== ''), 60);
}

/** The container of the stack on a node. */
export function daemonOf(host: string): Promise<string> {
  const filters = ['label=com.docker.swarm.service.name=volbak_volbak', 'status=running'];
  return docker(host, 'ps', '-q', ...filters.flatMap((filter) => ['--filter', filter]));
}
