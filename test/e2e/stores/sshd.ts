import { appendFile, readFile, writeFile } from 'node:fs/promises';
import { expect } from 'vitest';
import { SftpStore } from '../../../src/store/sftp.ts';
import { parseSftpUrl } from '../../../src/store/sftp-options.ts';
import { runScript } from '../../support/run-script.ts';
import { bash } from '../../support/site.ts';
import { freePort } from '../../support/store-servers.ts';
import { afterwards, tempDir } from '../../support/temp.ts';

/** An SSH server of a test's own, to be broken at will. */
export interface Sshd {
  port: number;
  dir: string;
  url(directory: string, options?: Record<string, string>): string;
  store(directory: string, options?: Record<string, string>): SftpStore;
  /** Ends the connections under way; the server goes on. */
  cut(): Promise<void>;
  stop(): Promise<void>;
  start(): Promise<void>;
}

export async function sshd(subsystem = 'internal-sftp'): Promise<Sshd> {
  const dir = `${await tempDir('volbak-sshd-')}/sshd`;
  const port = await freePort();
  afterwards(() => runScript('sshd.sh', ['stop', dir]));
  await runScript('sshd.sh', ['start', dir, String(port)]);
  const stop = async () => void (await runScript('sshd.sh', ['stop', dir]));
  const start = async () => {
    // The script writes the configuration anew: started by hand it stays.
    await bash(
      `rm -f '${dir}/pid'; /usr/sbin/sshd -f '${dir}/config'; while [ ! -s '${dir}/pid' ]; do sleep 0.05; done`,
    );
  };
  if (subsystem !== 'internal-sftp') {
    await stop();
    const config = await readFile(`${dir}/config`, 'utf8');
    await writeFile(`${dir}/config`, config.replace(/^Subsystem.*$/m, `Subsystem sftp ${subsystem}`));
    await start();
  }
  const url = (directory: string, options: Record<string, string> = {}) => {
    const query = new URLSearchParams({ key: `${dir}/id`, 'known-hosts': `${dir}/known_hosts`, ...options });
    return `sftp://root@127.0.0.1:${port}${directory}?${query}`;
  };
  const store = (directory: string, options: Record<string, string> = {}) => {
    const env = {
      homeDirectory: '/nonexistent',
      user: 'root',
      agentSocket: undefined,
      sftpPassword: undefined,
    };
    const opened = new SftpStore(parseSftpUrl(new URL(url(directory, options)), env));
    afterwards(() => opened.close());
    return opened;
  };
  const cut = async () => {
    await bash(`pkill -P "$(cat '${dir}/pid')" || true`);
  };
  return { port, dir, url, store, cut, stop, start };
}

/** A file system of its own in memory, gone after the test. */
export async function smallDisk(megabytes: number): Promise<string> {
  const dir = await tempDir('volbak-disk-');
  await bash(`mount -t tmpfs -o size=${megabytes}m tmpfs '${dir}'`);
  afterwards(() => bash(`umount -l '${dir}'`));
  return dir;
}

/** Another key than the server's own, as known_hosts would list it. */
export async function foreignKnownHosts({ port, dir }: Sshd): Promise<string> {
  const file = `${dir}/foreign`;
  await bash(`rm -f '${file}.key'; ssh-keygen -q -t ed25519 -N '' -f '${file}.key'`);
  const [type, key] = (await readFile(`${file}.key.pub`, 'utf8')).split(' ');
  await writeFile(file, '');
  await appendFile(file, `[127.0.0.1]:${port} ${type} ${key}\n`);
  return file;
}

export async function filesBelow(directory: string): Promise<string[]> {
  const found = await bash(`find '${directory}' -type f -printf '%P\\n'`);
  expect(typeof found).toBe('string');
  return found === '' ? [] : found.split('\n').sort();
}
