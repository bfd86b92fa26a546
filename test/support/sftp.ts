import { SftpStore } from '../../src/store/sftp.ts';
import { parseSftpUrl } from '../../src/store/sftp-options.ts';
import type { StoreServers } from './store-servers.ts';

export function sftpUrl({ sftp }: StoreServers, directory: string): string {
  const query = `key=${encodeURIComponent(sftp.keyFile)}&known-hosts=${encodeURIComponent(sftp.knownHosts)}`;
  return `sftp://root@127.0.0.1:${sftp.port}${directory}?${query}`;
}

export function sftpStore(servers: StoreServers, directory: string): SftpStore {
  const env = {
    homeDirectory: '/nonexistent',
    user: 'root',
    agentSocket: undefined,
    sftpPassword: undefined,
  };
  return new SftpStore(parseSftpUrl(new URL(sftpUrl(servers, directory)), env));
}
