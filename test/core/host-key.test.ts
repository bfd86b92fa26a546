import { describe, expect, it } from 'vitest';
import { refuseHostKey } from '../../src/core/host-key.ts';
import { keyTypeOf, parseKnownHosts } from '../../src/core/known-hosts.ts';

function key(secret: string): Buffer {
  return Buffer.from(`\0\0\0\x0bssh-ed25519${secret}`, 'latin1');
}

const line = (marker: string, host: string, blob: Buffer) =>
  `${marker}${host} ${keyTypeOf(blob)} ${blob.toString('base64')}`;
const host = { host: 'far.example', port: 22, user: 'me', knownHostsFiles: ['/home/me/.ssh/known_hosts'] };
const refuse = (text: string, blob: Buffer, port = 22) =>
  refuseHostKey(parseKnownHosts(text), { ...host, port }, blob);

describe('a host key that known_hosts does not vouch for', () => {
  it('is no refusal where it is listed', () => {
    expect(refuse(line('', 'far.example', key('one')), key('one'))).toBeUndefined();
  });

  it('unknown: the hint says how to add it, with the port where it needs one', () => {
    expect(refuse('', key('one'))).toMatchObject({
      verdict: 'unknown',
      what: expect.stringMatching(
        /^has a host key \(ssh-ed25519 SHA256:\S+\) that known_hosts does not list$/,
      ),
      hint: expect.stringContaining('ssh-keyscan far.example >> /home/me/.ssh/known_hosts'),
    });
    expect(refuse('', key('one'), 2222)?.hint).toContain('ssh -p 2222 me@far.example');
  });

  it('changed: says that somebody may be in between; revoked: gives no way around', () => {
    expect(refuse(line('', 'far.example', key('one')), key('two'))).toMatchObject({
      verdict: 'changed',
      what: expect.stringContaining('somebody may be in between'),
      hint: expect.stringContaining("ssh-keygen -R 'far.example'"),
    });
    expect(refuse(line('@revoked ', '*', key('one')), key('one'))).toMatchObject({
      verdict: 'revoked',
      hint: undefined,
    });
  });
});
