import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { TestProject } from 'vitest/node';
import { runScript } from './run-script.ts';

/** Where the test's own S3 and SFTP servers are. */
export interface StoreServers {
  s3: { endpoint: string; port: number; dir: string; accessKey: string; secretKey: string };
  sftp: { port: number; dir: string; keyFile: string; knownHosts: string };
}

declare module 'vitest' {
  export interface ProvidedContext {
    stores: StoreServers;
  }
}

/**
 * A port that nobody uses now, below the range from which the kernel takes ports of outgoing connections: one of those
 * could take it before the server does.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = 15_000 + Math.floor(Math.random() * 15_000);
    const free = await new Promise<boolean>((resolve) => {
      const server = createServer().on('error', () => resolve(false));
      server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
    });
    if (free) return port;
  }
}

/** A real Ceph RGW and a real sshd for all end-to-end tests. Answers with what ends them. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const dir = await mkdtemp(path.join(process.env.VOLBAK_TEST_DIR || tmpdir(), 'volbak-stores-'));
  const s3 = { dir: `${dir}/ceph`, port: await freePort(), accessKey: 'volbak', secretKey: 'volbaksecret' };
  const sftp = { dir: `${dir}/sshd`, port: await freePort() };
  const teardown = async () => {
    await runScript('ceph.sh', ['stop', s3.dir]);
    await runScript('sshd.sh', ['stop', sftp.dir]);
    await rm(dir, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
  };
  try {
    const endpoint = (
      await runScript('ceph.sh', ['start', s3.dir, String(s3.port), String(await freePort())])
    ).trim();
    await runScript('sshd.sh', ['start', sftp.dir, String(sftp.port)]);
    project.provide('stores', {
      s3: { ...s3, endpoint },
      sftp: { ...sftp, keyFile: `${sftp.dir}/id`, knownHosts: `${sftp.dir}/known_hosts` },
    });
  } catch (error) {
    await teardown().catch((second) => console.error(String(second)));
    throw new Error(
      "The end-to-end tests need Ceph's S3 gateway and OpenSSH, which could not be started. " +
        `Run them as root where Debian packages can be installed.\n${error instanceof Error ? error.message : String(error)}`,
      { cause: error },
    );
  }
  return teardown;
}
