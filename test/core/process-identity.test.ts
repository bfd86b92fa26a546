import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { describe, expect, it } from 'vitest';
import {
  containerIdIn,
  containerOf,
  processIdentity,
  processState,
} from '../../src/core/process-identity.ts';

describe('processState', () => {
  it('sees this process alive', () => {
    expect(processState(processIdentity())).toBe('alive');
  });

  it('sees a process dead that has ended', async () => {
    const child = spawn('sleep', ['60']);
    const stat = readFileSync(`/proc/${child.pid}/stat`, 'latin1');
    const identity = `${hostname()}:${child.pid}:${stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]}`;
    expect(processState(identity)).toBe('alive');
    child.kill('SIGKILL');
    await once(child, 'exit');
    expect(processState(identity)).toBe('dead');
  });

  it('sees a process dead whose pid another one has now', () => {
    expect(processState(`${hostname()}:${process.pid}:12345`)).toBe('dead');
  });

  it('says nothing of processes on other hosts', () => {
    expect(processState('another-host:1:1')).toBe('elsewhere');
    expect(processState(`x${processIdentity()}`)).toBe('elsewhere');
  });

  it.each(['0', '-1', 'x', '', '1.5', '99999999999999999999'])('takes pid %j for dead', (pid) => {
    expect(processState(`${hostname()}:${pid}:1`)).toBe('dead');
  });

  it('takes text that is no identity for one of elsewhere', () => {
    for (const text of ['', ':', 'x', '::']) expect(processState(text)).toBe('elsewhere');
  });
});

describe('the container that a process runs in', () => {
  const id = 'a1'.repeat(32);
  const line = (root: string, target: string) =>
    `700 690 254:0 ${root} ${target} rw,relatime - ext4 /dev/vda rw`;

  it.each([
    ['Docker', `/var/lib/docker/containers/${id}/hostname`],
    ['Podman', `/var/lib/containers/storage/overlay-containers/${id}/userdata/hostname`],
  ])('is known by the file that %s mounts', (_, root) => {
    const lines = [
      line('/x', '/'),
      line(root.replace('hostname', 'hosts'), '/etc/hosts'),
      line(root, '/etc/hostname'),
    ];
    expect(containerIdIn(lines.join('\n'))).toBe(id);
  });

  it('is none outside of containers, and where somebody mounted another file there', () => {
    expect(containerIdIn(readFileSync('/proc/self/mountinfo', 'utf8'))).toBeUndefined();
    expect(containerIdIn(line('/etc/other', '/etc/hostname'))).toBeUndefined();
    expect(containerIdIn('')).toBeUndefined();
  });

  it('is read from an identity; host names that only look alike are none', () => {
    expect(containerOf(`${id.slice(0, 12)}:7:123`)).toBe(id.slice(0, 12));
    expect(containerOf(`x${id.slice(0, 12)}:7:123`)).toBeUndefined();
    expect(containerOf(processIdentity())).toBeUndefined();
  });
});
