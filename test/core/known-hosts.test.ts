import { createHmac } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  checkHostKey,
  hostKeyAlgorithms,
  hostKeyFingerprint,
  hostKeyName,
  keyTypeOf,
  parseKnownHosts,
} from '../../src/core/known-hosts.ts';

/** A key blob: its type with a length in front, then something that tells it from others. */
function key(type: string, secret: string): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(type.length);
  return Buffer.concat([length, Buffer.from(type), Buffer.from(secret)]);
}

const ed = key('ssh-ed25519', 'one');
const ed2 = key('ssh-ed25519', 'two');
const rsa = key('ssh-rsa', 'three');

function line(hosts: string, blob: Buffer, marker = ''): string {
  return `${marker}${hosts} ${keyTypeOf(blob)} ${blob.toString('base64')} a comment`;
}

function hashed(name: string): string {
  const salt = Buffer.from('twenty bytes of salt');
  return `|1|${salt.toString('base64')}|${createHmac('sha1', salt).update(name).digest('base64')}`;
}

function verdict(text: string, host: string, port: number, blob: Buffer) {
  return checkHostKey(parseKnownHosts(text), host, port, blob);
}

describe('checkHostKey', () => {
  it('knows a key that is listed for the host', () => {
    expect(verdict(line('db.example,10.0.0.1', ed), 'db.example', 22, ed)).toBe('known');
    expect(verdict(line('db.example,10.0.0.1', ed), '10.0.0.1', 22, ed)).toBe('known');
    expect(verdict(line('db.example', ed), 'DB.Example', 22, ed)).toBe('known');
  });

  it('does not know hosts and key types that are not listed', () => {
    expect(verdict('', 'db', 22, ed)).toBe('unknown');
    expect(verdict(line('other', ed), 'db', 22, ed)).toBe('unknown');
    expect(verdict(line('db', rsa), 'db', 22, ed)).toBe('unknown');
  });

  it('tells a changed key from an unknown one', () => {
    expect(verdict(line('db', ed), 'db', 22, ed2)).toBe('changed');
    expect(verdict(`${line('db', ed)}\n${line('db', ed2)}`, 'db', 22, ed2)).toBe('known');
  });

  it('reads [host]:port, and lets a line without port vouch for other ports but not contradict them', () => {
    expect(verdict(line('[db]:2222', ed), 'db', 2222, ed)).toBe('known');
    expect(verdict(line('[db]:2222', ed), 'db', 2222, ed2)).toBe('changed');
    expect(verdict(line('[db]:2222', ed), 'db', 22, ed)).toBe('unknown');
    expect(verdict(line('db', ed), 'db', 2222, ed)).toBe('known');
    expect(verdict(line('db', ed), 'db', 2222, ed2)).toBe('unknown');
  });

  it('reads hashed hosts', () => {
    expect(verdict(line(hashed('db'), ed), 'db', 22, ed)).toBe('known');
    expect(verdict(line(hashed('[db]:2222'), ed), 'db', 2222, ed)).toBe('known');
    expect(verdict(line(hashed('db'), ed), 'db2', 22, ed)).toBe('unknown');
    expect(verdict(line('|1|nonsense', ed), 'db', 22, ed)).toBe('unknown');
  });

  it('reads what ssh-keygen -H wrote', () => {
    const text =
      '|1|mp87aL6Ug1aJVThOaXICC4p4TPU=|HX5Zgwg2eMwCjEK/SwQRsVKMUws= ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJX58Ynl5cO+0wrJp0ePCgRKL6WSZSn1VYK7OYk1zijL';
    const blob = Buffer.from(text.split(' ')[2] ?? '', 'base64');
    expect(verdict(text, '127.0.0.1', 22752, blob)).toBe('known');
    expect(hostKeyFingerprint(blob)).toBe('SHA256:lnWosp+ZbnY1Mz4trxQ6uGgI6Il0sKMjTAdIi9Of/BI');
  });

  it('refuses revoked keys even where they are listed too', () => {
    const text = `${line('db', ed)}\n${line('*', ed, '@revoked ')}`;
    expect(verdict(text, 'db', 22, ed)).toBe('revoked');
    expect(verdict(text, 'db', 2222, ed)).toBe('revoked');
    expect(verdict(line('db', ed, '@revoked '), 'db', 22, ed2)).toBe('unknown');
  });

  it('takes no certificate authority for a host key', () => {
    expect(verdict(line('db', ed, '@cert-authority '), 'db', 22, ed)).toBe('unknown');
  });

  it('knows wildcards and negations', () => {
    expect(verdict(line('*.example,!bad.example', ed), 'db.example', 22, ed)).toBe('known');
    expect(verdict(line('*.example,!bad.example', ed), 'bad.example', 22, ed)).toBe('unknown');
    expect(verdict(line('db?', ed), 'db1', 22, ed)).toBe('known');
    expect(verdict(line('d.1', ed), 'db1', 22, ed)).toBe('unknown');
  });

  it('never trusts a key because of a damaged file', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        expect(verdict(text, 'db', 22, ed)).toBe('unknown');
      }),
    );
  });
});

describe('parseKnownHosts', () => {
  it('leaves comments, empty lines, unknown markers and lines of other kinds out', () => {
    const text = [
      '# c',
      '',
      'db',
      'db ssh-rsa',
      'db ssh-rsa AAAA',
      '@what db ssh-rsa AAAA',
      '\t',
      line('db', ed),
    ];
    expect(parseKnownHosts(text.join('\r\n'))).toEqual([
      { marker: undefined, hosts: 'db', keyType: 'ssh-ed25519', key: ed },
    ]);
  });
});

describe('hostKeyAlgorithms', () => {
  it('asks for the types of the known keys first', () => {
    const entries = parseKnownHosts(line('db', rsa));
    const forDb = hostKeyAlgorithms(entries, 'db', 22);
    expect(forDb.slice(0, 3)).toEqual(['rsa-sha2-512', 'rsa-sha2-256', 'ssh-rsa']);
    expect(forDb).toContain('ssh-ed25519');
    expect(new Set(forDb).size).toBe(forDb.length);
    expect(hostKeyAlgorithms(entries, 'other', 22)[0]).toBe('ssh-ed25519');
  });
});

it('names a host as known_hosts does', () => {
  expect(hostKeyName('DB', 22)).toBe('db');
  expect(hostKeyName('::1', 2222)).toBe('[::1]:2222');
});
