import { inject } from 'vitest';
import { storeContract } from '../../contract/store.ts';
import { makeBucket, s3Store, uniqueBucket } from '../../support/s3.ts';

storeContract('S3Store on Ceph', {
  make: async () => {
    const bucket = uniqueBucket();
    await makeBucket(inject('stores'), bucket);
    const store = await s3Store(inject('stores'), bucket, 'some/prefix');
    return { store, cleanup: () => store.close() };
  },
});
