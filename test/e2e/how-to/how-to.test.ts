import { spawn } from 'node:child_process';
import { readFile, symlink } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { requireVolbakImage, socketOf, VOLBAK_IMAGE } from '../../support/container.ts';
import { cleanEnv, cleanupEngine, docker, dockerTry, engines, inVolume } from '../../support/engine.ts';
import { eventually } from '../../support/scene.ts';
import { daemonOf, startSftp, startSwarm } from '../../support/swarm.ts';
import { afterwards, tempDir } from '../../support/temp.ts';
import { privateHomes, projectRoot } from '../../support/volbak.ts';

/** The ```sh blocks of a page, in order. */
async function blocks(page: string): Promise<string[]> {
  const text = await readFile(path.join(projectRoot, 'docs/how-to', page), 'utf8');
  return [...text.matchAll(/^```sh\n(.*?)^```$/gms)].map((match) => match[1] as string);
}

interface Shop {
  /** Runs blocks as one script, as a reader who types them one after another. */
  follow(page: string, some?: (blocks: string[]) => string[]): Promise<string>;
  files(volume: string, host?: string): Promise<string>;
}

const CONTENT = './orders/1\n./orders/2\n./readme\n';

/** The container that the pages speak of, on a private engine, and a place for files. */
async function shop(): Promise<Shop> {
  const { a, b } = engines();
  for (const host of [a, b]) {
    await cleanupEngine(host, 'shop-');
    afterwards(() => cleanupEngine(host, 'shop-'));
  }
  await docker(a, 'volume', 'create', '--label', 'of=shop', 'shop-db-data');
  await inVolume(
    a,
    'shop-db-data',
    'mkdir orders; echo one >orders/1; echo two >orders/2; echo hello >readme',
  );
  const mount = 'shop-db-data:/var/lib/shop';
  await docker(
    a,
    'run',
    '-d',
    '--name',
    'shop-db',
    '--network',
    'none',
    '-v',
    mount,
    'busybox',
    'sleep',
    '3600',
  );
  const dir = await tempDir();
  await symlink(path.join(projectRoot, 'recipes'), path.join(dir, 'recipes'));
  const env = {
    ...cleanEnv(),
    ...(await privateHomes()),
    PATH: `${path.join(projectRoot, 'bin')}:${process.env.PATH}`,
    DOCKER_HOST: a,
    OTHER: b,
    VOLBAK_REPO: path.join(dir, 'repository'),
  };
  return {
    async follow(page, some = (all) => all) {
      const script = some(await blocks(page)).join('\n');
      expect(script).not.toBe('');
      return bash(script, dir, env);
    },
    files: (volume, host = a) =>
      inVolume(host, volume, 'find . ! -type d | sort').then((text) => `${text}\n`),
  };
}

function bash(script: string, cwd: string, env: NodeJS.ProcessEnv): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn('bash', ['-euo', 'pipefail', '-c', script], {
      cwd,
      env,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let stdout = '';
    let stderr = '';
    child.stdout.on('data', (chunk) => {
      stdout += chunk;
    });
    child.stderr.on('data', (chunk) => {
      stderr += chunk;
    });
    child.on('error', reject);
    child.on('close', (code) => {
      if (code === 0) resolve(stdout);
      else reject(new Error(`exit ${code}\n${stdout}${stderr}`));
    });
  });
}

/** What must be there before a page that begins with a backup in the repository. */
const BACKUP = 'volbak backup shop-db';

describe('docs/how-to: every command of every page', () => {
  it('backup-and-restore-a-container', async () => {
    const { follow, files } = await shop();
    const out = await follow('backup-and-restore-a-container.md');
    expect(out).toMatch(/snapshot \S+ of shop-db: 1 volume/);
    expect(out).toContain('digest proven');
    expect(out).toContain('./orders/2');
    expect(out).toMatch(/2 snapshots verified/);
    expect(await files('shop-db-data')).toBe(CONTENT);
    expect(await files('shop-db-copy')).toBe(CONTENT);
    expect(await files('shop-db-orders')).toBe('./orders/1\n./orders/2\n');
    const { a } = engines();
    expect(await docker(a, 'volume', 'inspect', '-f', '{{index .Labels "of"}}', 'shop-db-data')).toBe('shop');
    expect(await docker(a, 'inspect', '-f', '{{.State.Running}}', 'shop-db')).toBe('true');
  });

  it('move-data-into-a-new-container', async () => {
    const { follow, files } = await shop();
    const out = await follow('move-data-into-a-new-container.md');
    expect(out.match(/digest proven/g)).toHaveLength(2);
    expect(await files('shop-db2-data')).toBe(CONTENT);
    expect(await files('shop-archive')).toBe(CONTENT);
    const { a, b } = engines();
    expect(await files('shop-db-data', b)).toBe(CONTENT);
    expect(await docker(a, 'exec', 'shop-db2', 'cat', '/var/lib/shop/orders/1')).toBe('one');
    expect(await docker(a, 'inspect', '-f', '{{.State.Running}}', 'shop-db')).toBe('true');
  });

  it('export-and-import-plain-tars', async () => {
    const { follow, files } = await shop();
    const out = await follow('export-and-import-plain-tars.md', (all) => [BACKUP, ...all]);
    expect(out).toContain('var/lib/shop/orders/1\n');
    expect(out).toContain('./orders/1\n');
    for (const volume of ['shop-db2-data', 'shop-db-plain', 'shop-db-again']) {
      expect(await files(volume), volume).toBe(CONTENT);
    }
  });

  it('encrypt-a-repository', async () => {
    const { follow, files } = await shop();
    const out = await follow('encrypt-a-repository.md');
    expect(out).toContain('digest proven');
    expect(out).toMatch(/^this writer +\S{43}=$/m);
    expect(out).toMatch(/^shop-db-data$/m);
    expect(await files('shop-db-copy')).toBe(CONTENT);
  });

  it('restore-in-place', async () => {
    const { follow, files } = await shop();
    const out = await follow('restore-in-place.md');
    expect(out.match(/digest proven/g)).toHaveLength(3);
    expect(out).toContain('directory before-restore');
    expect(out).toMatch(/^new$/m);
    expect(await files('shop-db-data')).toBe('./orders/1\n./orders/2\n./orders/3\n./readme\n');
    const { a } = engines();
    expect(await docker(a, 'inspect', '-f', '{{.State.Running}}', 'shop-db')).toBe('true');
  });

  it('restore-without-volbak', async () => {
    const { follow, files } = await shop();
    const lost = `${BACKUP} >&2\ndocker rm -f shop-db >&2\ndocker volume rm shop-db-data >&2`;
    const out = await follow('restore-without-volbak.md', (all) => [lost, ...all]);
    const digests = out.match(/^[0-9a-f]{64}$/gm);
    expect(digests).toHaveLength(2);
    expect(digests?.[0]).toBe(digests?.[1]);
    expect(out).toMatch(/-rw-r--r-- .* \.\/orders\/1$/m);
    expect(await files('shop-db-data')).toBe(CONTENT);
  });

  it('forget-and-prune', async () => {
    const { follow, files } = await shop();
    const backups = Array.from({ length: 5 }, () => `${BACKUP} >&2`).join('\n');
    const release = 'volbak backup shop-db --tag release=1.2 >&2';
    const out = await follow('forget-and-prune.md', (all) => [
      release,
      backups,
      ...all,
      'volbak snapshots --json',
    ]);
    expect(out).toMatch(/keep +last, daily \d{4}-\d\d-\d\d/);
    expect(out).toMatch(/3 snapshots would be forgotten, 3 kept/);
    expect(out).toMatch(/3 snapshots forgotten, 3 kept/);
    expect(out).toMatch(/would delete 0 segments/);
    expect(out).toMatch(/^deleted 0 segments/m);
    expect(JSON.parse(out.slice(out.lastIndexOf('\n[') + 1))).toHaveLength(3);
    expect(await files('shop-db-data')).toBe(CONTENT);
  });

  it('run-something-on-volumes', async () => {
    const { follow, files } = await shop();
    const out = await follow('run-something-on-volumes.md');
    expect(out).toMatch(/^me 8$/m);
    expect(out).toMatch(/snapshot \S+ of shop-db:orders\.txt: 8 B/);
    expect(out).toMatch(/^one\ntwo$/m);
    expect(out).toMatch(/^4 \/var\/lib\/shop$/m);
    expect(await files('shop-orders')).toBe('./orders.txt\n');
    expect(await files('shop-db-data')).toBe(`./looked-at\n${CONTENT}`);
    const { a } = engines();
    expect(await docker(a, 'exec', 'shop-db', 'ls', '/tmp')).toBe('');
  });

  it('migrate-to-another-engine', async () => {
    const { follow, files } = await shop();
    const out = await follow('migrate-to-another-engine.md');
    expect(out).toMatch(/^volume shop-db-data -> shop-db-data \(local\)/m);
    expect(out.match(/^migrated volume .*digest proven$/gm)).toHaveLength(2);
    expect(out).toMatch(/^stopped for .*: shop-db$/m);
    expect(out).toMatch(/^one$/m);
    const { a, b } = engines();
    expect(await files('shop-db-copy', b)).toBe(CONTENT);
    expect(await files('shop-db-data', b)).toBe(CONTENT);
    expect(await docker(b, 'inspect', '-f', '{{.State.Running}}', 'shop-db')).toBe('true');
    expect(await docker(a, 'inspect', '-f', '{{.State.Running}}', 'shop-db')).toBe('false');
  });

  it('prove-a-backup', async () => {
    const { follow } = await shop();
    const out = await follow('prove-a-backup.md');
    expect(out.match(/^PASSED: \S+\/container\/shop-db, snapshot \S+, recovered in/gm)).toHaveLength(3);
    expect(out).toMatch(/ok {6}check: 2 /);
    const { a } = engines();
    expect(await docker(a, 'volume', 'ls', '-q', '--filter', 'label=io.volbak.scratch')).toBe('');
  });

  it('schedule-backups', async () => {
    const { follow, files } = await shop();
    const out = await follow('schedule-backups.md');
    expect(out).toContain('volbak.yaml is right: 4 jobs, 1 repository');
    expect(out).toMatch(/^nightly +backup +\d{4}-\d\d-\d\d 03:00:00 +Europe\/Berlin$/m);
    expect(out).toMatch(/^proof +drill +after nightly$/m);
    expect(out).toMatch(/snapshot \S+ of shop-db: 1 volume/);
    expect(out).toContain('"status":"ok"');
    expect(out).toMatch(/volbak_job_next_run_timestamp_seconds\{job="nightly"\} \d+/);
    expect(out).toMatch(/info {2}ended\n/);
    expect(await files('shop-db-data')).toBe(CONTENT);
    const { a } = engines();
    expect(await docker(a, 'inspect', '-f', '{{.State.Running}}', 'shop-db')).toBe('true');
  });

  it('run-in-a-container', async () => {
    const { a } = engines();
    await requireVolbakImage(a);
    await docker(a, 'tag', VOLBAK_IMAGE, 'volbak');
    afterwards(async () => {
      await dockerTry(a, 'rm', '-f', 'volbak');
      await docker(a, 'volume', 'rm', '-f', 'volbak-state', 'volbak-repository');
      await docker(a, 'image', 'rm', 'volbak');
    });
    const { follow, files } = await shop();
    // There is no registry here; the first block is that of test/support/volbak-image.sh.
    const out = await follow('run-in-a-container.md', ([, ...rest]) => [`SOCKET=${socketOf(a)}`, ...rest]);
    expect(out.match(/snapshot \S+ of shop-db: 1 volume/g)).toHaveLength(2);
    expect(out).toContain('digest proven');
    expect(out).toMatch(/^ok +helper image +volbak\S*:/m);
    expect(out).toMatch(/^nightly +backup +\d{4}-\d\d-\d\d 03:00:00/m);
    expect(await files('shop-db-copy')).toBe(CONTENT);
    expect(await docker(a, 'inspect', '-f', '{{.State.Running}}', 'shop-db')).toBe('true');
  });

  it('back-up-a-swarm', async () => {
    const swarm = await startSwarm();
    const sftp = await startSftp();
    for (const host of [swarm.a, swarm.b]) {
      await docker(host, 'tag', VOLBAK_IMAGE, 'volbak');
      const options = ['--network', 'none', '-v', 'shop-data:/data'];
      await docker(host, 'run', '-d', '--name', 'shop-db', ...options, 'sleeper');
    }
    const dir = await tempDir();
    await symlink(path.join(projectRoot, 'recipes'), path.join(dir, 'recipes'));
    const env = {
      ...cleanEnv(),
      ...(await privateHomes()),
      PATH: `${path.join(projectRoot, 'bin')}:${process.env.PATH}`,
      DOCKER_HOST: swarm.a,
      SOCKET: socketOf(swarm.a),
      BACKUP_HOST: '127.0.0.1',
      BACKUP_PORT: String(sftp.port),
      BACKUP_DIR: sftp.repository,
    };
    const [copy = '', ...rest] = await blocks('back-up-a-swarm.md');
    const look = rest.pop() ?? '';
    const authorize = `cat volbak_ssh_key.pub >>${sftp.authorizedKeys}`;
    await bash([copy, authorize, ...rest].join('\n'), dir, env);
    for (const host of [swarm.a, swarm.b])
      await eventually('volbak runs on the node', async () => (await daemonOf(host)) !== '', 60);
    const out = await bash(look, dir, env);
    for (const host of ['host-a', 'host-b']) {
      expect(out).toMatch(new RegExp(`^${host} +ready +ok$`, 'm'));
      expect(out).toMatch(new RegExp(`^${host}: 1 snapshot, .* stored`, 'm'));
      expect(out).toMatch(new RegExp(`^${host}: 1 drill passed$`, 'm'));
    }
    const status = JSON.parse(out.slice(out.lastIndexOf('\n[') + 1));
    expect(status).toMatchObject(
      ['host-a', 'host-b'].map((node) => ({ node, sources: [{ source: 'container/shop-db' }] })),
    );
  }, 400_000);

  it('schedule-with-labels', async () => {
    const { follow } = await shop();
    const out = await follow('schedule-with-labels.md');
    expect(out).toMatch(/^shop-web:backup +backup +\d{4}-\d\d-\d\d 03:00:00/m);
    expect(out).toMatch(/^shop-web:forget +forget +after shop-web:backup$/m);
    expect(out).toMatch(/^labels:prune +prune +\d{4}/m);
    expect(out).toContain('labels alone is right: 4 jobs, 0 repositories');
    expect(out).toMatch(/info {2}labels: 4 jobs came/);
    expect(out).toMatch(/snapshot \S+ of shop-web: 1 volume/);
    expect(out).toContain('VOLBAK_YAML is right: 0 jobs, 0 repositories');
  });

  it('from-offen', async () => {
    const { follow, files } = await shop();
    const out = await follow('../from-offen.md');
    expect(out).toContain('volbak.yaml is right: 3 jobs, 1 repository');
    expect(out).toMatch(/^shop-db:forget +forget +after shop-db:backup$/m);
    expect(out).toMatch(/snapshot \S+ of shop-db: 1 volume/);
    expect(out).toMatch(/dump$/m);
    expect(await files('shop-db-data')).toBe(CONTENT);
    for (const volume of ['shop-app', 'shop-app-again'])
      expect(await files(volume), volume).toBe('./readme\n');
    const { a } = engines();
    expect(await docker(a, 'inspect', '-f', '{{.State.Running}}', 'shop-db')).toBe('true');
  });

  it('is all of the pages', async () => {
    const { readdir } = await import('node:fs/promises');
    const pages = (await readdir(path.join(projectRoot, 'docs/how-to'))).sort();
    expect(pages).toEqual([
      'back-up-a-swarm.md',
      'backup-and-restore-a-container.md',
      'encrypt-a-repository.md',
      'export-and-import-plain-tars.md',
      'forget-and-prune.md',
      'migrate-to-another-engine.md',
      'move-data-into-a-new-container.md',
      'prove-a-backup.md',
      'restore-in-place.md',
      'restore-without-volbak.md',
      'run-in-a-container.md',
      'run-something-on-volumes.md',
      'schedule-backups.md',
      'schedule-with-labels.md',
    ]);
  });
});
