import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { burstCost, type DaemonBench, idleCost } from '../../../bench/daemon.ts';
import { cleanEnv, engines } from '../../support/engine.ts';
import { rounds } from '../../support/soak.ts';
import { tempDir } from '../../support/temp.ts';
import { launcher, privateHomes } from '../../support/volbak.ts';

// Coarse, as other tests use the machine, too: `npm run bench -- --daemon` has the figures.
const MB = 1e6;
const JOBS = rounds(60, 1000);

async function bench(): Promise<DaemonBench> {
  const work = path.join(await tempDir(), 'bench');
  return { launcher, work, host: engines().a, env: { ...cleanEnv(), ...(await privateHomes()) } };
}

describe('what the daemon costs', () => {
  it('idle with 200 labelled containers: below 120 MB, and next to nothing of a core', async () => {
    const { residentBytes, cpu } = await idleCost(await bench(), 200, 10);
    expect(residentBytes).toBeLessThan(120 * MB);
    expect(cpu).toBeLessThan(0.02);
  });

  it(
    `${JOBS} jobs due at the same second: started in order, never more than the limit, with flat memory`,
    async () => {
      const { inOrder, mostAtOnce, ended, earlyBytes, lateBytes } = await burstCost(await bench(), JOBS, 4);
      expect({ inOrder, ended }).toEqual({ inOrder: true, ended: JOBS });
      expect(mostAtOnce).toBeLessThanOrEqual(4);
      expect(lateBytes).toBeLessThan(earlyBytes * 1.2 + 10 * MB);
    },
    JOBS * 3000 + 120_000,
  );
});
