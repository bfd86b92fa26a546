import { describe, expect, it } from 'vitest';
import { explainS3Error } from '../../src/store/s3-errors.ts';
import { parseS3Url } from '../../src/store/s3-options.ts';

const parse = (url: string) => parseS3Url(new URL(url));
const options = parse('s3://bucket/prefix?endpoint=http://127.0.0.1:7480');

describe('parseS3Url', () => {
  it('means AWS where no endpoint is named', () => {
    expect(parse('s3://bucket')).toMatchObject({
      bucket: 'bucket',
      prefix: '',
      endpoint: undefined,
      region: undefined,
      pathStyle: false,
      checksum: 'supported',
      insecure: false,
    });
  });

  it('takes path style, a region and few checksums for other servers', () => {
    expect(parse('s3://bucket/a/b/?endpoint=https://s3.example.net')).toMatchObject({
      prefix: 'a/b/',
      endpoint: 'https://s3.example.net',
      region: 'us-east-1',
      pathStyle: true,
      checksum: 'required',
    });
  });

  it('takes every option', () => {
    const url =
      's3://my-bucket/p%20q?endpoint=https://e&region=eu-1&path-style=no&storage-class=STANDARD_IA&sse=aws:kms' +
      '&kms-key=k&checksum=supported&insecure&ca=/ca.pem';
    expect(parse(url)).toEqual({
      bucket: 'my-bucket',
      prefix: 'p q/',
      endpoint: 'https://e',
      region: 'eu-1',
      pathStyle: false,
      storageClass: 'STANDARD_IA',
      encryption: 'aws:kms',
      kmsKey: 'k',
      checksum: 'supported',
      insecure: true,
      caFile: '/ca.pem',
    });
  });

  it.each([
    ['s3://bucket?endpont=http://x', /unknown option 'endpont'/],
    ['s3://bucket?secret-key=hunter2', /unknown option 'secret-key'/],
    ['s3://AKIA:hunter2@bucket/p', /no keys/],
    ['s3://ab', /no name of a bucket/],
    ['s3:///prefix', /no name of a bucket/],
    ['s3://bucket?checksum=always', /checksum is required or supported/],
    ['s3://bucket?path-style=perhaps', /true or false/],
    ['s3://bucket?endpoint=nowhere', /no URL/],
    ['s3://bucket?endpoint=https://user:hunter2@host', /no keys/],
    ['s3://bucket/%E0%A4%A', /cannot be read/],
  ])('refuses %s as a usage error and tells no secret', (url, message) => {
    const error = (() => {
      try {
        return parse(url);
      } catch (e) {
        return e as Error & { code: string; hint?: string };
      }
    })();
    expect(error).toMatchObject({ code: 'USAGE', message: expect.stringMatching(message) });
    expect(`${(error as Error).message} ${(error as { hint?: string }).hint}`).not.toContain('hunter2');
  });
});

describe('explainS3Error', () => {
  const explain = (error: object) => explainS3Error(error, 'write', 'key', 's3://bucket/prefix', options);

  it.each([
    [{ name: 'QuotaExceeded', $metadata: { httpStatusCode: 403 } }, 'STORE_FULL', false],
    [{ name: 'AccessDenied', $metadata: { httpStatusCode: 403 } }, 'STORE_DENIED', false],
    [{ name: 'UserSuspended', $metadata: { httpStatusCode: 403 } }, 'STORE_DENIED', false],
    [{ name: '403', $metadata: { httpStatusCode: 403 } }, 'STORE_DENIED', false],
    [{ name: 'RequestTimeTooSkewed', $metadata: { httpStatusCode: 403 } }, 'STORE_DENIED', false],
    [{ name: 'CredentialsProviderError' }, 'STORE_DENIED', false],
    [{ name: 'NoSuchBucket', $metadata: { httpStatusCode: 404 } }, 'STORE_UNREACHABLE', false],
    [{ name: 'NoSuchKey', $metadata: { httpStatusCode: 404 } }, 'STORE_NOT_FOUND', false],
    [{ name: 'NotFound', $metadata: { httpStatusCode: 404 } }, 'STORE_NOT_FOUND', false],
    [{ name: 'InvalidRange', $metadata: { httpStatusCode: 416 } }, 'INTEGRITY', false],
    [{ name: 'PreconditionFailed', $metadata: { httpStatusCode: 412 } }, 'STORE_EXISTS', false],
    [{ name: 'ConditionalRequestConflict', $metadata: { httpStatusCode: 409 } }, 'STORE_UNREACHABLE', true],
    [{ name: 'SlowDown', $metadata: { httpStatusCode: 503 } }, 'STORE_UNREACHABLE', true],
    [{ name: 'TooManyRequests', $metadata: { httpStatusCode: 429 } }, 'STORE_UNREACHABLE', true],
    [{ name: 'InternalError', $metadata: { httpStatusCode: 500 } }, 'STORE_UNREACHABLE', true],
    [{ name: 'NotImplemented', $metadata: { httpStatusCode: 501 } }, 'STORE_UNREACHABLE', false],
    [{ name: 'InvalidStorageClass', $metadata: { httpStatusCode: 400 } }, 'STORE_UNREACHABLE', false],
    [{ name: 'TimeoutError', code: 'EPIPE', $metadata: {} }, 'STORE_UNREACHABLE', true],
    [{ name: 'Error', code: 'ECONNREFUSED' }, 'STORE_UNREACHABLE', true],
    [{ name: 'Error', code: 'ECONNRESET' }, 'STORE_UNREACHABLE', true],
    [{ name: 'Error', code: 'SELF_SIGNED_CERT_IN_CHAIN' }, 'STORE_UNREACHABLE', false],
  ])('tells %j as %s, and whether to try again: %s', (error, code, retryable) => {
    const explained = explain(error);
    expect(explained).toMatchObject({ code, retryable });
    expect(explained.message).toContain('cannot write key in s3://bucket/prefix: ');
  });

  it('says of a large object that was cut where to look', () => {
    expect(explain({ name: 'TimeoutError', code: 'EPIPE' }).hint).toMatch(/quota/);
  });
});
