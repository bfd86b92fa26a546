import { beforeAll, describe, expect, inject, it } from 'vitest';
import { runScript } from '../../support/run-script.ts';
import { makeBucket, s3Environment, s3Url, uniqueBucket } from '../../support/s3.ts';
import { bash, failure, type Site, site, summary } from '../../support/site.ts';
import { freePort, type StoreServers } from '../../support/store-servers.ts';
import { tempDir } from '../../support/temp.ts';
import { finished, type Json } from '../../support/volbak.ts';
import { sshd } from './sshd.ts';

interface Server {
  repo: string;
  env: Record<string, string>;
  kill(): Promise<void>;
  start(): Promise<void>;
}

/** A gateway of this file's own: other tests go on with theirs. The end of Ceph ends it. */
const GATEWAY = 'faults';
const port = await freePort();
const gateway = () => runScript('ceph.sh', ['gateway', inject('stores').s3.dir, String(port), GATEWAY]);

function ownStores(): StoreServers {
  const stores = inject('stores');
  return { ...stores, s3: { ...stores.s3, port, endpoint: `http://127.0.0.1:${port}` } };
}

beforeAll(gateway);

const SERVERS: [string, () => Promise<Server>][] = [
  [
    "Ceph's gateway",
    async () => {
      const bucket = uniqueBucket();
      const stores = ownStores();
      await makeBucket(stores, bucket);
      return {
        repo: s3Url(stores, bucket, 'repo'),
        env: s3Environment(stores),
        kill: async () => {
          await bash(
            `pid=$(tr -d '\\n' <'${stores.s3.dir}/run/client.${GATEWAY}.pid'); kill -9 "$pid"; while kill -0 "$pid" 2>/dev/null && ! grep -q '^State:.Z' /proc/$pid/status; do sleep 0.05; done`,
          );
        },
        start: async () => void (await gateway()),
      };
    },
  ],
  [
    'sshd',
    async () => {
      const server = await sshd();
      return {
        repo: server.url(`${await tempDir()}/repo`),
        env: {},
        kill: server.stop,
        start: server.start,
      };
    },
  ],
];

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** A snapshot to be kept, and a volume that takes a while to store. */
async function prepare(server: Server): Promise<{ at: Site; volume: string; first: Json }> {
  const at = await site({ repo: server.repo, env: server.env });
  const volume = await at.volume('data', 'seq 1000 >numbers');
  const first = (await at.ok('backup', '--volume', volume)).snapshots[0];
  await at.inside(volume, 'for i in 1 2 3 4; do head -c 30000000 /dev/urandom >$i; done');
  return { at, volume, first };
}

describe.each(SERVERS)('%s', (_, make) => {
  it('killed in the middle of a backup and started again ten seconds later: the backup goes on', async () => {
    const server = await make();
    const { at, volume, first } = await prepare(server);
    const child = await at.start('--limit-upload', '16M', 'backup', '--volume', volume);
    child.stdin.end();
    const end = finished(child);
    await sleep(3500);
    await server.kill();
    await sleep(10_000);
    expect(child.exitCode, 'it still waits').toBeNull();
    await server.start();
    const result = await end;
    expect(result.exit).toBe(0);
    expect(result.stdout).toMatch(/trying again in/);
    const { id } = summary(result).snapshots[0];
    expect((await at.ok('verify')).errors).toEqual([]);
    expect((await at.document('snapshots')).map((s: Json) => s.id).sort()).toEqual([first.id, id].sort());
    await at.ok('restore', id, '--to-volume', at.name('back'), '--verify');
  });

  it('gone for good: exit 31 within the limit, nothing half visible, older snapshots whole', async () => {
    const server = await make();
    const { at, volume, first } = await prepare(server);
    const child = await at.start('--limit-upload', '16M', '--retry-for', '3s', 'backup', '--volume', volume);
    child.stdin.end();
    const end = finished(child);
    await sleep(3500);
    expect(child.exitCode, 'it is at work').toBeNull();
    await server.kill();
    const killed = performance.now();
    try {
      const result = await end;
      expect(performance.now() - killed).toBeLessThan(20_000);
      expect(result.exit).toBe(31);
      expect(failure(result)).toMatchObject({
        code: 'STORE_UNREACHABLE',
        message: expect.stringMatching(/given up after \d+ tries/),
        hint: expect.stringContaining('not lost'),
      });
    } finally {
      await server.start();
    }
    expect((await at.document('snapshots')).map((s: Json) => s.id)).toEqual([first.id]);
    expect((await at.ok('verify')).errors).toEqual([]);
    await at.ok('backup', '--volume', volume);
  });
});
