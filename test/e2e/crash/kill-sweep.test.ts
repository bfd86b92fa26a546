import { describe, test } from 'vitest';
import { rounds } from '../../support/soak.ts';
import { CASES, MOMENTS } from './cases.ts';
import { laboratory, sweep, type Victim } from './laboratory.ts';

async function sweepCase(name: string, points: number, victim: Victim): Promise<void> {
  const lab = await laboratory();
  const make = CASES[name];
  if (!make) throw new Error(`there is no case '${name}'`);
  await sweep(lab, await make(lab), points, victim);
}

describe('kill -9 of volbak at any moment: the next command succeeds, all snapshots are whole, nothing is left', () => {
  test.each(Object.keys(CASES))('%s', { timeout: 3_600_000 }, async (name) => {
    await sweepCase(name, rounds(2, MOMENTS[name] ?? 30), 'volbak');
  });
});

describe('a helper killed at any moment: the next command succeeds, all snapshots are whole, nothing is left', () => {
  test.each(['backup --stop', 'restore --on-conflict replace'])(
    '%s',
    { timeout: 3_600_000 },
    async (name) => {
      await sweepCase(name, rounds(1, 20), 'helper');
    },
  );
});
