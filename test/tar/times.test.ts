import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { canonicalTime, timeFromPax, timeToPax } from '../../src/tar/times.ts';

describe('times', () => {
  it.each([
    ['0', '0.000000000'],
    ['1700000000', '1700000000.000000000'],
    ['1700000000.5', '1700000000.500000000'],
    ['1700000000.000000001', '1700000000.000000001'],
    ['-1', '-1.000000000'],
    ['-1.5', '-2.500000000'],
    ['-0.25', '-1.750000000'],
    ['-0.000000001', '-1.999999999'],
    ['-2147483648.999999999', '-2147483649.000000001'],
  ])('a pax time %s is %s as struct timespec counts, and back', (pax, canonical) => {
    expect(timeFromPax(pax)).toBe(canonical);
    expect(timeToPax(canonical)).toBe(pax);
  });

  it.each([
    ['-0', '0.000000000'],
    ['-0.0', '0.000000000'],
    ['1.', '1.000000000'],
    ['007', '7.000000000'],
    ['1.1234567891', '1.123456789'],
  ])('%s is the same time as %s', (pax, canonical) => {
    expect(timeFromPax(pax)).toBe(canonical);
  });

  it('comes back from pax unchanged', () => {
    const seconds = fc.bigInt({ min: -(2n ** 62n), max: 2n ** 62n });
    fc.assert(
      fc.property(seconds, fc.integer({ min: 0, max: 999_999_999 }), (s, ns) => {
        const time = canonicalTime(s.toString(), ns.toString().padStart(9, '0'));
        expect(timeFromPax(timeToPax(time))).toBe(time);
      }),
      { numRuns: 2000 },
    );
  });

  it.each(['', ' ', 'x', '1,5', '+1', '1e3', '--1', '.5', 'NaN', '1.5x', '1\n', '9'.repeat(40)])(
    'refuses %j',
    (text) => {
      expect(() => timeFromPax(text)).toThrow(RangeError);
    },
  );
});
