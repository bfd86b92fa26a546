import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { rounds } from '../support/soak.ts';
import { corpus } from './corpus.ts';
import { READERS, type Reader } from './readers.ts';

// A reader gives a value that holds together or raises the error that it may raise; never another, never without end.
// fast-check prints the seed of what failed; the input that it shrank to belongs into fixtures/fuzz/<reader>/.

/** A change to an input: where, what, and with which bytes. */
const edit = fc.record({
  at: fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true }),
  kind: fc.constantFrom('flip', 'insert', 'delete', 'repeat', 'cut', 'overwrite'),
  length: fc.integer({ min: 1, max: 600 }),
  bytes: fc.oneof(
    fc.uint8Array({ minLength: 1, maxLength: 40 }),
    fc
      .constantFrom(
        '\0',
        '\n',
        '/../',
        '99999999999999999999',
        '-1',
        '\xff\xff\xff\xff',
        '{"',
        '[[[[',
        '\\u0000',
        '%2e%2e',
        'null',
      )
      .map((s) => Buffer.from(s, 'latin1')),
  ),
});
type Edit = typeof edit extends fc.Arbitrary<infer T> ? T : never;

function apply(input: Buffer, { at, kind, length, bytes }: Edit): Buffer {
  const place = Math.floor(at * input.length);
  const [head, tail] = [input.subarray(0, place), input.subarray(place)];
  switch (kind) {
    case 'flip': {
      const copy = Buffer.from(input);
      if (copy.length > 0) copy[place] = (copy[place] ?? 0) ^ (1 << (length % 8));
      return copy;
    }
    case 'insert':
      return Buffer.concat([head, bytes, tail]);
    case 'delete':
      return Buffer.concat([head, tail.subarray(length)]);
    case 'repeat':
      return Buffer.concat([head, tail.subarray(0, length), tail]);
    case 'cut':
      return head;
    default:
      return Buffer.concat([head, bytes, tail.subarray(bytes.length)]);
  }
}

/** Archives are only interesting where their headers' checksums are right. */
function withChecksums(input: Buffer): Buffer {
  const copy = Buffer.from(input);
  for (let at = 0; at + 512 <= copy.length; at += 512) {
    if (copy.toString('latin1', at + 257, at + 262) !== 'ustar') continue;
    copy.fill(0x20, at + 148, at + 156);
    let sum = 0;
    for (let i = 0; i < 512; i++) sum += copy[at + i] ?? 0;
    copy.write(`${sum.toString(8).padStart(6, '0')}\0 `, at + 148, 'latin1');
  }
  return copy;
}

async function holds(name: string, read: Reader, input: Buffer): Promise<void> {
  const begun = performance.now();
  await read(input);
  // A hundred times what the slowest of them takes: without end, or quadratic.
  expect(performance.now() - begun, `${name} took too long`).toBeLessThan(10_000);
}

describe.each(Object.entries(READERS))('%s', (name, read) => {
  const saved = corpus(name);

  it('reads all saved inputs', { timeout: 60_000 }, async () => {
    expect(saved.length).toBeGreaterThan(0);
    for (const { bytes } of saved) await holds(name, read, bytes);
  });

  it('holds for any bytes', { timeout: 600_000 }, async () => {
    const property = fc.asyncProperty(fc.uint8Array({ maxLength: 3000 }), (bytes) =>
      holds(name, read, Buffer.from(bytes)),
    );
    await fc.assert(property, { numRuns: rounds(100, 20_000) });
  });

  it('holds for saved inputs with changes', { timeout: 600_000 }, async () => {
    const input = fc.tuple(
      fc.constantFrom(...saved),
      fc.array(edit, { minLength: 1, maxLength: 6 }),
      fc.boolean(),
    );
    const property = fc.asyncProperty(input, async ([{ bytes }, edits, repair]) => {
      const changed = edits.reduce(apply, bytes);
      await holds(
        name,
        read,
        repair && (name === 'tar' || name === 'rewritten') ? withChecksums(changed) : changed,
      );
    });
    await fc.assert(property, { numRuns: rounds(150, 20_000) });
  });
});
