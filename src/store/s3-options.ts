import { VolbakError } from '../core/errors.ts';

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
  if (url.username !== '' || url.password !== '') {
    throw new VolbakError('USAGE', 'no keys in the repository URL, please: it is printed and logged', {
      hint: 'Give AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile.',
    });
  }
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
  if (endpoint !== undefined && !URL.canParse(endpoint))
    throw new VolbakError('USAGE', `the endpoint '${endpoint}' is no URL`);
  const path = decodeURIComponent(url.pathname).replace(/^\/+|\/+$/g, '');
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

/** A yes-or-no option of a URL: `?insecure`, `?insecure=true`. */
export function flag(query: URLSearchParams, name: string, fallback: boolean): boolean {
  const value = query.get(name);
  if (value === null) return fallback;
  if (['', 'true', '1', 'yes'].includes(value)) return true;
  if (['false', '0', 'no'].includes(value)) return false;
  throw new VolbakError('USAGE', `${name} in the repository URL is true or false, not '${value}'`);
}
