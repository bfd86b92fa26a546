import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type EndpointRequest, resolveEndpoint } from '../../src/engine/endpoint.ts';

let homeDir: string;

beforeEach(() => {
  homeDir = mkdtempSync(join(tmpdir(), 'volbak-endpoint-'));
});
afterEach(() => rmSync(homeDir, { recursive: true }));

function resolve(request: Partial<EndpointRequest> = {}) {
  return resolveEndpoint({ env: {}, homeDir, ...request });
}

function label(request: Partial<EndpointRequest> = {}): string {
  return resolve(request).label;
}

function makeContext(name: string, docker: object, pem: string[] = []): void {
  const id = createHash('sha256').update(name).digest('hex');
  const meta = join(homeDir, '.docker', 'contexts', 'meta', id);
  mkdirSync(meta, { recursive: true });
  writeFileSync(join(meta, 'meta.json'), JSON.stringify({ Name: name, Endpoints: { docker } }));
  if (pem.length > 0) writePem(join(homeDir, '.docker', 'contexts', 'tls', id, 'docker'), pem);
}

function writePem(dir: string, names: string[]): string {
  mkdirSync(dir, { recursive: true });
  for (const name of names) writeFileSync(join(dir, `${name}.pem`), `the ${name}`);
  return dir;
}

const ALL = ['ca', 'cert', 'key'];

describe('the order of the docker CLI', () => {
  beforeEach(() => {
    makeContext('flagged', { Host: 'unix:///flagged' });
    makeContext('named', { Host: 'unix:///named' });
    makeContext('chosen', { Host: 'unix:///chosen' });
    writeFileSync(join(homeDir, '.docker', 'config.json'), '{"currentContext":"chosen"}');
  });
  const env = { DOCKER_HOST: 'unix:///env', DOCKER_CONTEXT: 'named' };

  it('goes from flags over DOCKER_HOST and DOCKER_CONTEXT to the chosen context', () => {
    expect(label({ host: 'unix:///flag', env })).toBe('unix:///flag');
    expect(label({ context: 'flagged', env })).toBe('unix:///flagged');
    expect(label({ env })).toBe('unix:///env');
    expect(label({ env: { DOCKER_CONTEXT: 'named' } })).toBe('unix:///named');
    expect(label()).toBe('unix:///chosen');
  });

  it('ends at the default socket', () => {
    expect(label({ homeDir: '/nonexistent' })).toBe('unix:///var/run/docker.sock');
    expect(label({ env: { DOCKER_CONTEXT: 'default' } })).toBe('unix:///var/run/docker.sock');
    expect(label({ host: 'unix://' })).toBe('unix:///var/run/docker.sock');
  });

  it('takes the default context for DOCKER_HOST', () => {
    expect(label({ context: 'default', env })).toBe('unix:///env');
  });

  it('reads another config directory', () => {
    expect(label({ env: { DOCKER_CONFIG: '/nonexistent' } })).toBe('unix:///var/run/docker.sock');
  });

  it('refuses --host together with --context', () => {
    expect(() => resolve({ host: 'unix:///a', context: 'named' })).toThrowError(
      expect.objectContaining({ code: 'USAGE' }),
    );
  });

  it('blames the flag or the settings for an unknown context', () => {
    expect(() => resolve({ context: 'x' })).toThrowError(expect.objectContaining({ code: 'USAGE' }));
    expect(() => resolve({ env: { DOCKER_CONTEXT: 'x' } })).toThrowError(
      expect.objectContaining({ code: 'CONFIG' }),
    );
  });
});

describe('addresses', () => {
  it('reads tcp, http and https', () => {
    expect(resolve({ host: 'tcp://h' })).toEqual({
      kind: 'tcp',
      label: 'tcp://h:2375',
      host: 'h',
      port: 2375,
      tls: undefined,
    });
    expect(resolve({ host: 'h:99' })).toMatchObject({ kind: 'tcp', host: 'h', port: 99 });
    expect(resolve({ host: 'tcp://[::1]:99/' })).toMatchObject({ host: '::1', label: 'tcp://[::1]:99' });
    expect(resolve({ host: 'http://h' })).toMatchObject({ port: 80, tls: undefined });
    expect(resolve({ host: 'https://h' })).toMatchObject({ port: 443, tls: { rejectUnauthorized: true } });
  });

  it('reads ssh', () => {
    const env = { USER: 'me', SSH_AUTH_SOCK: '/agent' };
    expect(resolve({ host: 'ssh://admin@h:2222', env })).toEqual({
      kind: 'ssh',
      label: 'ssh://admin@h:2222',
      host: 'h',
      port: 2222,
      user: 'admin',
      keyFile: undefined,
      defaultKeyFiles: ['id_ed25519', 'id_rsa', 'id_ecdsa'].map((name) => join(homeDir, '.ssh', name)),
      agentSocket: '/agent',
      knownHostsFiles: [
        join(homeDir, '.ssh/known_hosts'),
        join(homeDir, '.ssh/known_hosts2'),
        '/etc/ssh/ssh_known_hosts',
      ],
    });
    expect(resolve({ host: 'ssh://h', env })).toMatchObject({ user: 'me', port: 22, label: 'ssh://me@h' });
    expect(resolve({ host: 'ssh://h' })).toMatchObject({ user: userInfo().username });
    expect(resolve({ host: 'ssh://h?key=/k%20y&known-hosts=/kh' })).toMatchObject({
      keyFile: '/k y',
      knownHostsFiles: ['/kh'],
    });
  });

  it.each([
    ['npipe:////./pipe/docker_engine', /named pipe/],
    ['fd://3', /unknown scheme/],
    ['tcp://h:99999', /not a valid URL/],
    ['tcp://', /names no host|not a valid URL/],
    ['/var/run/docker.sock', /has no scheme/],
    ['unix://docker.sock', /no absolute path/],
    ['tcp://h:1/prefix', /has a path/],
    ['ssh://h?kee=/k', /unknown parameter "kee"/],
    ['ssh://u:secret@h', /has a password/],
    ['http://u:secret@h:99999', /not a valid URL/],
  ])('refuses %s', (host, message) => {
    const refusal = (code: string) =>
      expect.objectContaining({ code, message: expect.stringMatching(message) });
    expect(() => resolve({ host })).toThrowError(refusal('USAGE'));
    expect(() => resolve({ env: { DOCKER_HOST: host } })).toThrowError(refusal('CONFIG'));
    expect(() => resolve({ host })).toThrowError(
      expect.objectContaining({ message: expect.not.stringContaining('secret') }),
    );
  });
});

describe('TLS', () => {
  const host = 'tcp://h';

  it('takes the certificates of DOCKER_CERT_PATH or of the config directory', () => {
    const dir = writePem(join(homeDir, 'certs'), ALL);
    const tls = { ca: 'the ca', cert: 'the cert', key: 'the key', rejectUnauthorized: true };
    const env = { DOCKER_TLS_VERIFY: '1', DOCKER_CERT_PATH: dir };
    expect(resolve({ host, env })).toMatchObject({ port: 2376, tls });
    expect(resolve({ host: 'https://h', env: { DOCKER_CERT_PATH: dir } })).toMatchObject({ tls });
    writePem(join(homeDir, '.docker'), ALL);
    expect(resolve({ host, env: { DOCKER_TLS_VERIFY: '1' } })).toMatchObject({ tls });
    expect(resolve({ host, env: { DOCKER_TLS: '1' } })).toMatchObject({ tls: { rejectUnauthorized: false } });
    expect(resolve({ host, env: { DOCKER_CERT_PATH: dir } })).toMatchObject({ port: 2375, tls: undefined });
  });

  it('works without a client certificate', () => {
    const dir = writePem(join(homeDir, 'certs'), ['ca']);
    const env = { DOCKER_TLS_VERIFY: '1', DOCKER_CERT_PATH: dir };
    expect(resolve({ host, env })).toMatchObject({ tls: { ca: 'the ca', cert: undefined, key: undefined } });
  });

  it.each([
    [['cert', 'key'], 'ca.pem', 'It has cert.pem, key.pem.'],
    [['ca', 'cert'], 'key.pem', 'It has ca.pem, cert.pem.'],
    [['ca', 'key'], 'cert.pem', 'It has ca.pem, key.pem.'],
    [[], 'ca.pem', 'It has no .pem file.'],
  ])('with %j alone names what is missing and what is there', (names, missing, there) => {
    const dir = writePem(join(homeDir, 'certs'), names);
    expect(() => resolve({ host, env: { DOCKER_TLS_VERIFY: '1', DOCKER_CERT_PATH: dir } })).toThrowError(
      expect.objectContaining({
        code: 'CONFIG',
        message: expect.stringContaining(`lacks ${missing}`),
        hint: expect.stringContaining(there),
      }),
    );
  });

  it('takes those of a context, not those of the environment', () => {
    const env = { DOCKER_TLS_VERIFY: '1', DOCKER_CERT_PATH: '/nonexistent' };
    makeContext('full', { Host: 'tcp://h' }, ALL);
    makeContext('lax', { Host: 'tcp://h', SkipTLSVerify: true });
    makeContext('plain', { Host: 'tcp://h' });
    expect(resolve({ context: 'full', env })).toMatchObject({
      tls: { ca: 'the ca', rejectUnauthorized: true },
    });
    expect(resolve({ context: 'lax', env })).toMatchObject({ tls: { rejectUnauthorized: false } });
    expect(resolve({ context: 'plain', env })).toMatchObject({ tls: undefined });
  });
});
