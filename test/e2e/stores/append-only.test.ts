import {
  ListObjectVersionsCommand,
  PutBucketPolicyCommand,
  PutBucketVersioningCommand,
  type S3Client,
} from '@aws-sdk/client-s3';
import { expect, inject, it } from 'vitest';
import { runScript } from '../../support/run-script.ts';
import { makeBucket, s3Client, s3Environment, s3Url, uniqueBucket } from '../../support/s3.ts';
import { failure, type Site, site } from '../../support/site.ts';
import { afterwards, uniqueName } from '../../support/temp.ts';
import type { Json } from '../../support/volbak.ts';

const servers = () => inject('stores');

/** A bucket that keeps all versions, and two ways to it: of its owner, and of a user who may only add. */
async function twoWays(): Promise<{ adds: Site; owns: Site; versions(): Promise<Json> }> {
  const bucket = uniqueBucket();
  await makeBucket(servers(), bucket);
  const owner: S3Client = s3Client(servers());
  afterwards(async () => owner.destroy());
  const id = uniqueName('user');
  const [key, secret] = [`${id}-key`, `${id}-secret`];
  const { dir } = servers().s3;
  const keys = [`--access-key=${key}`, `--secret-key=${secret}`];
  await runScript('ceph.sh', [
    'admin',
    dir,
    'user',
    'create',
    `--uid=${id}`,
    `--display-name=${id}`,
    ...keys,
  ]);
  await owner.send(
    new PutBucketVersioningCommand({ Bucket: bucket, VersioningConfiguration: { Status: 'Enabled' } }),
  );
  const policy = {
    Version: '2012-10-17',
    Statement: [
      {
        Effect: 'Allow',
        Principal: { AWS: [`arn:aws:iam:::user/${id}`] },
        Action: ['s3:PutObject', 's3:GetObject', 's3:ListBucket'],
        Resource: [`arn:aws:s3:::${bucket}`, `arn:aws:s3:::${bucket}/*`],
      },
      {
        // What somebody puts is his own: without this the bucket's owner could not even read it.
        Effect: 'Allow',
        Principal: { AWS: ['arn:aws:iam:::user/volbak'] },
        Action: ['s3:*'],
        Resource: [`arn:aws:s3:::${bucket}`, `arn:aws:s3:::${bucket}/*`],
      },
    ],
  };
  await owner.send(new PutBucketPolicyCommand({ Bucket: bucket, Policy: JSON.stringify(policy) }));
  const repo = s3Url(servers(), bucket, 'repo');
  return {
    adds: await site({ repo, env: { AWS_ACCESS_KEY_ID: key, AWS_SECRET_ACCESS_KEY: secret } }),
    owns: await site({ repo, env: s3Environment(servers()) }),
    versions: () => owner.send(new ListObjectVersionsCommand({ Bucket: bucket })),
  };
}

it('credentials that may only add back up and restore, and nothing was ever overwritten or deleted', async () => {
  const { adds, owns, versions } = await twoWays();
  const volume = await adds.volume('data', 'seq 1000 >numbers; head -c 300000 /dev/urandom >random');
  const ids: string[] = [];
  for (let i = 0; i < 3; i++) {
    await adds.inside(volume, 'head -c 300000 /dev/urandom >random');
    ids.push((await adds.ok('backup', '--volume', volume)).snapshots[0].id);
  }
  await adds.ok('restore', volume, '--to-volume', adds.name('back'), '--verify');
  const { Versions = [], DeleteMarkers = [] } = await versions();
  // What the store is tried out with is put twice: to see whether that is refused.
  const keys = Versions.map(({ Key }: Json) => Key).filter((key: string) => !key.startsWith('repo/probe-'));
  expect(keys.length).toBeGreaterThan(6);
  expect(keys.filter((key: string, i: number) => keys.indexOf(key) !== i)).toEqual([]);
  expect(DeleteMarkers).toEqual([]);

  // They can neither forget nor prune, and break nothing in the attempt.
  for (const args of [
    ['forget', '--keep-last', '1'],
    ['prune', '--grace', '0s'],
  ]) {
    const refused = await adds.run(...args);
    expect(refused.exit, args.join(' ')).toBe(30);
    expect(failure(refused).code).toBe('STORE_DENIED');
  }
  expect(await adds.document('snapshots')).toHaveLength(3);

  // Who may delete does: the sessions that could not be taken back are known for what they are after a while.
  await owns.ok('forget', '--keep-last', '1');
  const pruned = await owns.ok('prune', '--grace', '0s');
  expect(pruned.sessions.map((s: Json) => s.kind)).toContain('backup');
  expect(pruned.pending.map((p: Json) => p.reason)).toEqual(['session']);
  expect((await owns.document('snapshots')).map((s: Json) => s.id)).toEqual(ids.slice(2));
  expect((await adds.ok('verify')).errors).toEqual([]);
  await adds.ok('restore', volume, '--to-volume', adds.name('again'), '--verify');
  expect((await adds.ok('backup', '--volume', volume)).snapshots[0].volumes[0].newBytes).toBeLessThan(
    100_000,
  );
});
