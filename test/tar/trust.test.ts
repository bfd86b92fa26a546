import { describe, expect, it } from 'vitest';
import { secondsOf, trustedBefore } from '../../src/tar/trust.ts';

const started = new Date(1_700_000_000_000);

describe('times of a listing are trusted', () => {
  it.each([
    ['ext4', true, 2],
    ['xfs', true, 2],
    ['ext4', false, 5],
    ['msdos', true, 60],
    ['nfs', true, 60],
    ['fuseblk', false, 60],
    ['UNKNOWN (0x1234)', true, 60],
  ])('on %s (fractions: %s) when %s s older', (fsType, fineTimes, margin) => {
    expect(trustedBefore({ started, fsType, fineTimes })).toBe(1_700_000_000 - margin);
  });

  it('never in memory', () => {
    for (const fsType of ['tmpfs', 'ramfs']) {
      expect(trustedBefore({ started, fsType, fineTimes: true })).toBeUndefined();
    }
  });

  it('by their whole seconds, also before 1970', () => {
    expect(secondsOf('1700000000.999999999')).toBe(1_700_000_000);
    expect(secondsOf('-2.500000000')).toBe(-2);
  });
});
