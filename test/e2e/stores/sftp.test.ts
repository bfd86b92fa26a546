import { inject } from 'vitest';
import { storeContract } from '../../contract/store.ts';
import { sftpStore } from '../../support/sftp.ts';
import { tempDir } from '../../support/temp.ts';

storeContract('SftpStore on OpenSSH', {
  make: async () => {
    const store = sftpStore(inject('stores'), `${await tempDir()}/new/place`);
    return { store, cleanup: () => store.close() };
  },
});
