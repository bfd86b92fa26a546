import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { currentContext, dockerConfigDir, listContexts, readContext } from '../../src/engine/context.ts';

let dir: string;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'volbak-context-'));
});
afterEach(() => rmSync(dir, { recursive: true }));

function writeMeta(name: string, text: string): void {
  const meta = join(dir, 'contexts', 'meta', createHash('sha256').update(name).digest('hex'));
  mkdirSync(meta, { recursive: true });
  writeFileSync(join(meta, 'meta.json'), text);
}

it('finds the directory as the docker CLI does', () => {
  expect(dockerConfigDir({}, '/home/u')).toBe('/home/u/.docker');
  expect(dockerConfigDir({ DOCKER_CONFIG: '/etc/d' }, '/home/u')).toBe('/etc/d');
});

it('reads the chosen context', () => {
  expect(currentContext(dir)).toBeUndefined();
  writeFileSync(join(dir, 'config.json'), '{"auths":{}}');
  expect(currentContext(dir)).toBeUndefined();
  writeFileSync(join(dir, 'config.json'), '{"currentContext":"prod"}');
  expect(currentContext(dir)).toBe('prod');
});

it('names a broken config file', () => {
  writeFileSync(join(dir, 'config.json'), '{');
  expect(() => currentContext(dir)).toThrowError(
    expect.objectContaining({ code: 'CONFIG', message: expect.stringContaining(join(dir, 'config.json')) }),
  );
});

it('lists contexts, passing over broken ones', () => {
  expect(listContexts(dir)).toEqual(['default']);
  writeMeta('b', '{"Name":"b"}');
  writeMeta('a', '{"Name":"a"}');
  writeMeta('broken', '{');
  expect(listContexts(dir)).toEqual(['default', 'a', 'b']);
});

it('names the contexts that exist where one does not', () => {
  writeMeta('prod', '{"Name":"prod"}');
  expect(() => readContext(dir, 'prd', 'USAGE')).toThrowError(
    expect.objectContaining({
      code: 'USAGE',
      message: expect.stringContaining('"prd"'),
      hint: expect.stringContaining('default, prod'),
    }),
  );
});

it('refuses a context without a docker endpoint', () => {
  writeMeta('k8s', '{"Name":"k8s","Endpoints":{}}');
  expect(() => readContext(dir, 'k8s', 'USAGE')).toThrowError(expect.objectContaining({ code: 'CONFIG' }));
});

it('reads host, TLS directory and SkipTLSVerify', () => {
  writeMeta('p', '{"Name":"p","Endpoints":{"docker":{"Host":"tcp://h:2376","SkipTLSVerify":true}}}');
  expect(readContext(dir, 'p', 'USAGE')).toEqual({
    name: 'p',
    host: 'tcp://h:2376',
    skipTlsVerify: true,
    tlsDir: undefined,
  });
  const tls = join(dir, 'contexts', 'tls', createHash('sha256').update('p').digest('hex'), 'docker');
  mkdirSync(tls, { recursive: true });
  expect(readContext(dir, 'p', 'USAGE').tlsDir).toBe(tls);
});
