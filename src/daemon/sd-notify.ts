import { spawn } from 'node:child_process';

/**
 * Tells systemd about this service, where it asks for that. Node has no datagrams over unix sockets, so systemd's own
 * program speaks; the unit needs `NotifyAccess=all` for it.
 */
export function sdNotify(environment: NodeJS.ProcessEnv, ...words: string[]): Promise<void> {
  if (!environment.NOTIFY_SOCKET) return Promise.resolve();
  return new Promise((resolve) => {
    const child = spawn('systemd-notify', words, { env: environment, stdio: 'ignore' });
    child.once('error', () => resolve());
    child.once('close', () => resolve());
  });
}
