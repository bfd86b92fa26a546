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

/** The id of a container as mountinfo (proc(5)) of a process in it tells: engines put /etc/hostname there. */
export function containerIdIn(mountinfo: string): string | undefined {
  for (const line of mountinfo.split('\n')) {
    const [, , , root = '', target] = line.split(' ');
    if (target === '/etc/hostname') return /\/([0-9a-f]{64})\/(?:userdata\/)?hostname$/.exec(root)?.[1];
  }
  return undefined;
}

let ownContainer: { id: string | undefined } | undefined;

/** The id of the container that this process runs in, if it does. */
export function containerId(): string | undefined {
  if (ownContainer) return ownContainer.id;
  let id: string | undefined;
  try {
    id = containerIdIn(readFileSync('/proc/self/mountinfo', 'utf8'));
  } catch {
    // No /proc: no container, as far as anybody can tell.
  }
  ownContainer = { id };
  return id;
}

/**
 * Where pids mean the same. Each container has pids of its own, while its host name may be another one's, or that of the
 * machine itself: so its id stands for it.
 */
function host(): string {
  return containerId()?.slice(0, 12) ?? hostname();
}

/** Names a process, this one unless told, so that a later one can tell whether it still lives: a pid alone is used again. */
export function processIdentity(pid = process.pid): string {
  return `${host()}:${pid}:${startOf(pid) ?? '0'}`;
}

/** The container that a process named by `processIdentity` ran in: the first 12 digits of its id. */
export function containerOf(identity: string): string | undefined {
  return /^([0-9a-f]{12}):\d+:\d+$/.exec(identity)?.[1];
}

/** Whether a process named by `processIdentity` still runs; 'elsewhere' where it ran on another host. */
export function processState(identity: string): 'alive' | 'dead' | 'elsewhere' {
  const [start = '', pidText = '', ...name] = identity.split(':').reverse();
  if (name.reverse().join(':') !== host()) return 'elsewhere';
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
  return createHash('sha256').update(host()).digest('hex').slice(0, 8);
}

/** This process's identity as part of a file name: `<host>-<pid>-<start>`. */
export function processTag(): string {
  return `${hostTag()}-${process.pid}-${startOf(process.pid) ?? '0'}`;
}

/** The same as `processState` for a tag; 'elsewhere' also for what is no tag. */
export function tagState(tag: string): 'alive' | 'dead' | 'elsewhere' {
  const [, where, pid, start] = /^([0-9a-f]{8})-(\d{1,10})-(\d{1,20})$/.exec(tag) ?? [];
  if (where !== hostTag() || start === undefined) return 'elsewhere';
  return stateOf(Number(pid), start);
}
