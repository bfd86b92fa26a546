import { createServer } from 'node:net';
import { setTimeout } from 'node:timers/promises';
import { inject } from 'vitest';
import type { Engines } from './engine.ts';

declare module 'vitest' {
  export interface ProvidedContext {
    /** A pair for each test file that may run at the same time. */
    engines: Engines[];
  }
}

const CLAIM = Symbol.for('volbak.test.engines');
const claims = globalThis as { [CLAIM]?: Engines };

/** The pair of engines that this process claimed. */
export function claimedEngines(): Engines {
  const claimed = claims[CLAIM];
  if (!claimed) throw new Error('no engines were claimed: only end-to-end tests have some');
  return claimed;
}

/** Listening at an abstract address is a lock that goes with its process, whatever ends that. */
function lock(name: string): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.on('error', () => resolve(false));
    server.listen(`\0volbak-test-${name}`, () => {
      server.unref();
      resolve(true);
    });
  });
}

/** Claims a pair that no other process has; test files that run at the same time see nothing of each other. */
async function claim(): Promise<Engines> {
  for (;;) {
    for (const pair of inject('engines')) if (await lock(pair.a)) return pair;
    await setTimeout(50);
  }
}

// Listed in vitest.config.ts: runs before each file.
claims[CLAIM] ??= await claim();
