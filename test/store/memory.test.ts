import { MemoryStore } from '../../src/store/memory.ts';
import { storeContract } from '../contract/store.ts';

storeContract('MemoryStore', {
  make: async () => ({ store: new MemoryStore(), cleanup: async () => {} }),
  abortsPuts: false,
});
