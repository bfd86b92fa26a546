import { describe, inject, it } from 'vitest';
import { mainJob } from '../../support/main-job.ts';
import { makeBucket, s3Environment, s3Url, uniqueBucket } from '../../support/s3.ts';
import { sftpUrl } from '../../support/sftp.ts';
import { tempDir } from '../../support/temp.ts';

describe('the main job, unchanged', () => {
  it('with a repository in S3', async () => {
    const servers = inject('stores');
    const bucket = uniqueBucket();
    await makeBucket(servers, bucket);
    await mainJob(s3Url(servers, bucket, 'repo'), { env: s3Environment(servers) });
  });

  it('with a repository on an SSH host', async () => {
    await mainJob(sftpUrl(inject('stores'), `${await tempDir()}/repo`));
  });
});
