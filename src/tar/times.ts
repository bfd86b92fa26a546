/** Seconds and nanoseconds to the canonical form of `Member.mtime`. */
export function canonicalTime(seconds: string | number, nanoseconds: string): string {
  return `${seconds}.${nanoseconds.padEnd(9, '0').slice(0, 9)}`;
}

/**
 * A decimal time of a pax record ("1700000000.5", "-1.5") in canonical form. pax writes the true value,
 * struct timespec counts nanoseconds upwards: -1.5 is -2 s + 500,000,000 ns.
 */
export function timeFromPax(value: string): string {
  const match = /^(-?)0*(\d{1,20})(?:\.(\d*))?$/.exec(value);
  if (!match) throw new RangeError(`not a time: ${value}`);
  const [, sign, whole = '0', fraction = ''] = match;
  const nanos = fraction.padEnd(9, '0').slice(0, 9);
  if (!sign) return canonicalTime(whole, nanos);
  if (/^0*$/.test(nanos)) return canonicalTime(whole === '0' ? 0 : `-${whole}`, nanos);
  return canonicalTime(String(-(BigInt(whole) + 1n)), String(1_000_000_000 - Number(nanos)).padStart(9, '0'));
}

/** The canonical form of a time back to a pax record's decimal value. */
export function timeToPax(time: string): string {
  const [seconds = '0', nanos = '0'] = time.split('.');
  if (/^0*$/.test(nanos)) return seconds;
  if (!seconds.startsWith('-')) return `${seconds}.${nanos.replace(/0+$/, '')}`;
  const whole = -BigInt(seconds) - 1n;
  const fraction = String(1_000_000_000 - Number(nanos))
    .padStart(9, '0')
    .replace(/0+$/, '');
  return `-${whole}.${fraction}`;
}
