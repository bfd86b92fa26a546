import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';

/**
 * Start time of a process in clock ticks since boot (proc(5), field 22); undefined where /proc does not tell.
 * 'ended' for one that only waits to be collected by its parent.
 */
function startOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' || fields[0] === 'X' ? 'ended' : fields[19];
  } catch {
    return undefined;
  }
}

/** Names a process, this one unless told, so that a later one can tell whether it still lives: a pid alone is used again. */
export function processIdentity(pid = process.pid): string {
  return `${hostname()}:${pid}:${startOf(pid) ?? '0'}`;
}

/** Whether a process named by `processIdentity` still runs; 'elsewhere' where it ran on another host. */
export function processState(identity: string): 'alive' | 'dead' | 'elsewhere' {
  const [start = '', pidText = '', ...host] = identity.split(':').reverse();
  if (host.reverse().join(':') !== hostname()) return 'elsewhere';
  return stateOf(Number(pidText), start);
}

function stateOf(pid: number, start: string): 'alive' | 'dead' {
  if (!Number.isSafeInteger(pid) || pid <= 0) return 'dead';
  try {
    process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM' ? 'alive' : 'dead';
  }
  const now = startOf(pid);
  return now === undefined || start === '0' || now === start ? 'alive' : 'dead';
}

/** The host in a few letters that fit into a file name. */
function hostTag(): string {
  return createHash('sha256').update(hostname()).digest('hex').slice(0, 8);
}

/** This process's identity as part of a file name: `<host>-<pid>-<start>`. */
export function processTag(): string {
  return `${hostTag()}-${process.pid}-${startOf(process.pid) ?? '0'}`;
}

/** The same as `processState` for a tag; 'elsewhere' also for what is no tag. */
export function tagState(tag: string): 'alive' | 'dead' | 'elsewhere' {
  const [, host, pid, start] = /^([0-9a-f]{8})-(\d{1,10})-(\d{1,20})$/.exec(tag) ?? [];
  if (host !== hostTag() || start === undefined) return 'elsewhere';
  return stateOf(Number(pid), start);
}
