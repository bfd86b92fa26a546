import { describe, expect, it } from 'vitest';
import { explainSftpError } from '../../src/store/sftp-errors.ts';
import { parseSftpUrl } from '../../src/store/sftp-options.ts';

const env = { homeDirectory: '/home/me', user: 'me', agentSocket: '/agent', sftpPassword: 'hunter2' };
const parse = (url: string) => parseSftpUrl(new URL(url), env);

describe('parseSftpUrl', () => {
  it('takes what ssh takes where it says nothing', () => {
    expect(parse('sftp://host/srv/backup')).toEqual({
      host: 'host',
      port: 22,
      user: 'me',
      directory: '/srv/backup',
      keyFile: undefined,
      agentSocket: '/agent',
      defaultKeyFiles: ['/home/me/.ssh/id_ed25519', '/home/me/.ssh/id_ecdsa', '/home/me/.ssh/id_rsa'],
      password: 'hunter2',
      knownHostsFiles: ['/home/me/.ssh/known_hosts', '/etc/ssh/ssh_known_hosts'],
      acceptNew: false,
    });
  });

  it('takes every option', () => {
    const url = 'sftp://us%40er@[::1]:2222/with%20space/?key=/k&known-hosts=/h&accept-new';
    expect(parse(url)).toMatchObject({
      host: '::1',
      port: 2222,
      user: 'us@er',
      directory: '/with space',
      keyFile: '/k',
      knownHostsFiles: ['/h'],
      acceptNew: true,
    });
  });

  it('takes /~/ for the home directory', () => {
    expect(parse('sftp://host/~/backups/volbak').directory).toBe('backups/volbak');
  });

  it.each([
    ['sftp://host/p?keys=/k', /unknown option 'keys'/],
    ['sftp://user:hunter2@host/p', /no password/],
    ['sftp://host', /a host and a directory/],
    ['sftp://host/', /a host and a directory/],
    ['sftp://host//', /a host and a directory/],
    ['sftp:///srv', /a host and a directory/],
    ['sftp://host/~', /a host and a directory/],
    ['sftp://host/~/', /a host and a directory/],
    ['sftp://host/p?accept-new=perhaps', /true or false/],
    ['sftp://host/%E0%A4%A', /cannot be read/],
  ])('refuses %s as a usage error and tells no secret', (url, message) => {
    let error: unknown;
    try {
      parse(url);
    } catch (e) {
      error = e;
    }
    expect(error).toMatchObject({ code: 'USAGE', message: expect.stringMatching(message) });
    expect(`${(error as Error).message} ${(error as { hint?: string }).hint}`).not.toContain('hunter2');
  });
});

describe('explainSftpError', () => {
  it.each([
    [2, 'STORE_NOT_FOUND', false],
    [3, 'STORE_DENIED', false],
    [4, 'STORE_UNREACHABLE', false],
    [6, 'STORE_UNREACHABLE', true],
    [7, 'STORE_UNREACHABLE', true],
    [8, 'STORE_UNREACHABLE', false],
    [undefined, 'STORE_UNREACHABLE', true],
    ['ECONNRESET', 'STORE_UNREACHABLE', true],
  ])('tells status %s as %s, and whether to try again: %s', (status, code, retryable) => {
    const error = Object.assign(new Error('as the server says'), { code: status });
    const explained = explainSftpError(error, 'read', 'key', 'sftp://me@host:22/p');
    expect(explained).toMatchObject({ code, retryable });
    expect(explained.message).toContain('cannot read key in sftp://me@host:22/p: ');
  });
});
