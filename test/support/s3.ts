import { randomBytes } from 'node:crypto';
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3';
import { S3Store } from '../../src/store/s3.ts';
import { parseS3Url } from '../../src/store/s3-options.ts';
import type { StoreServers } from './store-servers.ts';

/** A client of the test's S3 server, for what volbak itself does not do. */
export function s3Client({ s3 }: StoreServers): S3Client {
  return new S3Client({
    endpoint: s3.endpoint,
    region: 'us-east-1',
    forcePathStyle: true,
    credentials: { accessKeyId: s3.accessKey, secretAccessKey: s3.secretKey },
  });
}

export function uniqueBucket(): string {
  return `volbak-${randomBytes(6).toString('hex')}`;
}

export async function makeBucket(servers: StoreServers, bucket: string): Promise<void> {
  const client = s3Client(servers);
  await client.send(new CreateBucketCommand({ Bucket: bucket }));
  client.destroy();
}

/** Environment with which the AWS SDK finds the keys of the test's server. */
export function s3Environment({ s3 }: StoreServers): Record<string, string> {
  return { AWS_ACCESS_KEY_ID: s3.accessKey, AWS_SECRET_ACCESS_KEY: s3.secretKey };
}

export function s3Url({ s3 }: StoreServers, bucket: string, prefix: string): string {
  return `s3://${bucket}/${prefix}?endpoint=${encodeURIComponent(s3.endpoint)}`;
}

/** A store in this process; its keys come through the environment, as the SDK's chain wants them. */
export async function s3Store(servers: StoreServers, bucket: string, prefix: string): Promise<S3Store> {
  Object.assign(process.env, s3Environment(servers));
  return new S3Store(parseS3Url(new URL(s3Url(servers, bucket, prefix))));
}
