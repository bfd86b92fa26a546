import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import os from 'node:os';

function first(command: string, ...args: string[]): string {
  try {
    const out = execFileSync(command, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
    return out.trim().split('\n')[0] ?? '';
  } catch {
    return 'unknown';
  }
}

function system(): string {
  try {
    return /^PRETTY_NAME="?([^"\n]*)/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1] ?? os.type();
  } catch {
    return os.type();
  }
}

/** What the figures were measured on, one line each. */
export function machine(host: string, disk: string, node: string): string[] {
  const cpus = os.cpus();
  const GiB = 1024 ** 3;
  return [
    `${cpus.length} cores (${cpus[0]?.model.trim() || 'unknown'}), ${Math.round(os.totalmem() / GiB)} GiB of memory`,
    `${system()}, Linux ${os.release()}`,
    `disk: ${first('findmnt', '-no', 'FSTYPE,SOURCE', '-T', disk).replace(/\s+/, ' on ')}`,
    `Docker ${first('docker', '-H', host, 'version', '-f', '{{.Server.Version}}')}, storage driver ${first('docker', '-H', host, 'info', '-f', '{{.Driver}}')}`,
    `Node ${first(node, '--version')}; ${first('zstd', '--version')
      .replace(/[*\s]+/g, ' ')
      .trim()}; ${first('tar', '--version')}; ${first('borg', '--version')}; ${first('restic', 'version')}`,
    `load average when it began: ${os
      .loadavg()
      .map((load) => load.toFixed(1))
      .join(', ')}`,
  ];
}
