import { describe, expect, it } from 'vitest';
import { VolbakError } from '../../src/core/errors.ts';
import { negotiate } from '../../src/engine/connect.ts';
import { explainConnectError } from '../../src/engine/connect-errors.ts';
import type { Endpoint } from '../../src/engine/endpoint.ts';

const unix: Endpoint = { kind: 'unix', label: 'unix:///s', socketPath: '/s' };
const tcp: Endpoint = { kind: 'tcp', label: 'tcp://h:2375', host: 'h', port: 2375, tls: undefined };

describe('negotiate', () => {
  it('speaks the version of the server, but none newer than ours', () => {
    expect(negotiate(unix, { ApiVersion: '1.41', MinAPIVersion: '1.12' })).toBe('1.41');
    expect(negotiate(unix, { ApiVersion: '1.51', MinAPIVersion: '1.24' })).toBe('1.44');
    expect(negotiate(unix, { ApiVersion: '1.52', MinAPIVersion: '1.44' })).toBe('1.44');
    expect(negotiate(unix, { ApiVersion: '1.40' })).toBe('1.40');
  });

  it.each([
    [{ ApiVersion: '1.39' }, /too old: it speaks API 1\.39/],
    [{ ApiVersion: '1.9' }, /too old/],
    [{ ApiVersion: '1.60', MinAPIVersion: '1.45' }, /too new: it speaks API 1\.45/],
    [{}, /not a Docker Engine/],
    [{ ApiVersion: 'yes' }, /not a Docker Engine/],
  ])('refuses %j', (version, message) => {
    expect(() => negotiate(unix, version)).toThrowError(
      expect.objectContaining({ code: 'ENGINE_UNREACHABLE', message: expect.stringMatching(message) }),
    );
  });
});

describe('explainConnectError', () => {
  const coded = (code: string, message = code) => Object.assign(new Error(message), { code });
  const status = (statusCode: number, message: string) => Object.assign(new Error(message), { statusCode });
  const explain = (error: unknown, endpoint: Endpoint) => explainConnectError(error, endpoint, 10_000);

  it.each<[Endpoint, Error, RegExp]>([
    [unix, coded('ENOENT'), /unix:\/\/\/s cannot be reached: no engine listens there/],
    [unix, coded('EACCES'), /no permission/],
    [unix, coded('ECONNREFUSED'), /no engine listens/],
    [tcp, coded('ECONNREFUSED'), /connection refused/],
    [tcp, coded('ENOTFOUND'), /name of the host is not known/],
    [tcp, coded('EHOSTUNREACH'), /does not answer/],
    [tcp, new DOMException('The operation timed out', 'TimeoutError'), /no answer within 10 s/],
    [tcp, coded('ERR_SSL_WRONG_VERSION_NUMBER'), /plain HTTP/],
    [tcp, coded('SELF_SIGNED_CERT_IN_CHAIN'), /not trusted/],
    [tcp, coded('UNABLE_TO_VERIFY_LEAF_SIGNATURE'), /not trusted/],
    [tcp, coded('CERT_HAS_EXPIRED'), /expired/],
    [tcp, coded('ERR_TLS_CERT_ALTNAME_INVALID'), /for another name/],
    [tcp, coded('ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED'), /client certificate/],
    [tcp, coded('ERR_OSSL_X509_KEY_VALUES_MISMATCH'), /TLS files cannot be used/],
    [tcp, status(400, 'Client sent an HTTP request to an HTTPS server.'), /wants TLS/],
    [tcp, status(403, 'no'), /access is denied \(HTTP 403\)/],
    [tcp, status(404, 'no'), /not that of a Docker Engine/],
    [tcp, new Error('something else'), /something else/],
  ])('%o %s', (endpoint, error, message) => {
    const explained = explain(error, endpoint);
    expect(explained).toMatchObject({ code: 'ENGINE_UNREACHABLE', cause: error });
    expect(explained.message).toMatch(message);
    expect(explained.message).toContain(endpoint.label);
    expect(explained.message).toMatch(/[^.]\.$/);
    expect(explained.hint).toBeTruthy();
  });

  it('says what to do about a missing permission', () => {
    expect(explain(coded('EACCES'), unix).hint).toMatch(/group docker.*sudo/);
  });

  it('lets our own errors pass', () => {
    const own = new VolbakError('CONFIG', 'bad key');
    expect(explain(own, tcp)).toBe(own);
  });
});
