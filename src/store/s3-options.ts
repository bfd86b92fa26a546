import { VolbakError } from '../core/errors.ts';
import { decodePart, flag } from './url-parts.ts';

/** What an `s3://` URL says. */
export interface S3Options {
  bucket: string;
  /** '' or ending in '/'. */
  prefix: string;
  endpoint: string | undefined;
  region: string | undefined;
  pathStyle: boolean;
  storageClass: import('@aws-sdk/client-s3').StorageClass | undefined;
  encryption: import('@aws-sdk/client-s3').ServerSideEncryption | undefined;
  kmsKey: string | undefined;
  /** `supported`: checksums on every request; `required`: only where the protocol demands one. */
  checksum: 'required' | 'supported';
  insecure: boolean;
  caFile: string | undefined;
}

const KNOWN = [
  'endpoint',
  'region',
  'path-style',
  'storage-class',
  'sse',
  'kms-key',
  'checksum',
  'insecure',
  'ca',
];

/** Reads `s3://bucket/prefix?endpoint=…`. Raises USAGE; docs/stores.md describes the options. */
export function parseS3Url(url: URL): S3Options {
  const { searchParams: query } = url;
  for (const key of query.keys()) {
    if (KNOWN.includes(key)) continue;
    throw new VolbakError('USAGE', `unknown option '${key}' in the repository URL`, {
      hint: `Known are ${KNOWN.join(', ')}.`,
    });
  }
  refuseKeys(url);
  const bucket = url.hostname;
  if (!/^[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]$/i.test(bucket)) {
    throw new VolbakError('USAGE', `'${bucket}' is no name of a bucket`, {
      hint: 's3://bucket/prefix; a name has 3 to 63 characters.',
    });
  }
  const checksum = query.get('checksum') ?? (query.has('endpoint') ? 'required' : 'supported');
  if (checksum !== 'required' && checksum !== 'supported') {
    throw new VolbakError('USAGE', `checksum is required or supported, not '${checksum}'`);
  }
  const endpoint = query.get('endpoint') ?? undefined;
  if (endpoint !== undefined) checkEndpoint(endpoint);
  const path = decodePart(url.pathname).replace(/^\/+|\/+$/g, '');
  return {
    bucket,
    prefix: path === '' ? '' : `${path}/`,
    endpoint,
    region: query.get('region') ?? (endpoint === undefined ? undefined : 'us-east-1'),
    pathStyle: flag(query, 'path-style', endpoint !== undefined),
    storageClass: (query.get('storage-class') ?? undefined) as S3Options['storageClass'],
    encryption: (query.get('sse') ?? undefined) as S3Options['encryption'],
    kmsKey: query.get('kms-key') ?? undefined,
    checksum,
    insecure: flag(query, 'insecure', false),
    caFile: query.get('ca') ?? undefined,
  };
}

function refuseKeys(url: URL): void {
  if (url.username === '' && url.password === '') return;
  throw new VolbakError('USAGE', 'no keys in the repository URL, please: it is printed and logged', {
    hint: 'Give AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile.',
  });
}

function checkEndpoint(endpoint: string): void {
  if (!URL.canParse(endpoint) || !/^https?:$/.test(new URL(endpoint).protocol)) {
    throw new VolbakError('USAGE', `the endpoint '${endpoint}' is no URL`, {
      hint: '?endpoint=https://s3.example.net',
    });
  }
  refuseKeys(new URL(endpoint));
}
