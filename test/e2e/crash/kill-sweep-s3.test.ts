import { describe, inject, test } from 'vitest';
import { makeBucket, s3Environment, s3Url, uniqueBucket } from '../../support/s3.ts';
import { rounds } from '../../support/soak.ts';
import { CASES, copyTo } from './cases.ts';
import { type CrashCase, type Laboratory, laboratory, sweep } from './laboratory.ts';

let copies = 0;

const ON_S3: Record<string, (lab: Laboratory, bucket: string) => Promise<CrashCase>> = {
  ...CASES,
  copy: (lab, bucket) => copyTo(async () => s3Url(inject('stores'), bucket, `copy-${copies++}`))(lab),
};

describe('with the repository in S3, kill -9 at any moment: the next command succeeds, all snapshots are whole', () => {
  const names = ['backup --stop', 'restore into a new volume', 'copy', 'forget', 'prune'];
  test.each(names)('%s', { timeout: 3_600_000 }, async (name) => {
    const stores = inject('stores');
    const bucket = uniqueBucket();
    await makeBucket(stores, bucket);
    const lab = await laboratory({ repo: s3Url(stores, bucket, 'repo'), env: s3Environment(stores) });
    const make = ON_S3[name];
    if (!make) throw new Error(`there is no case '${name}'`);
    await sweep(lab, await make(lab, bucket), rounds(2, 25));
  });
});
