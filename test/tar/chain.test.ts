import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ChainScanner } from '../../src/tar/chain.ts';
import { TarError } from '../../src/tar/header.ts';

const archive = (name: string) => readFileSync(`fixtures/tars/${name}`);

function scan(chunks: Iterable<Buffer>): { paths: string[]; bytes: number; ends: number } {
  const found = { paths: [] as string[], bytes: 0, ends: 0 };
  const scanner = new ChainScanner({
    member: ({ path }) => void found.paths.push(path),
    content: (bytes) => {
      found.bytes += bytes.length;
    },
    memberEnd: () => {},
    end: () => {
      found.ends++;
    },
  });
  for (const chunk of chunks) scanner.push(chunk);
  scanner.finish();
  return found;
}

describe('archives one after another', () => {
  const [first, second] = [archive('gnu-tar-gnu.tar'), archive('gnu-tar-pax.tar')];
  const both = Buffer.concat([first, second, first]);

  it('are one archive with one end, however the stream is split', () => {
    const [a, b] = [scan([first]), scan([second])];
    fc.assert(
      fc.property(fc.array(fc.nat(both.length), { maxLength: 6 }), (cuts) => {
        const at = [0, ...cuts.sort((x, y) => x - y), both.length];
        const chunks = at.slice(1).map((end, i) => both.subarray(at[i], end));
        expect(scan(chunks)).toEqual({
          paths: [...a.paths, ...b.paths, ...a.paths],
          bytes: 2 * a.bytes + b.bytes,
          ends: 1,
        });
      }),
    );
  });

  it('must all be whole', () => {
    expect(() => scan([first, second.subarray(0, 700)])).toThrow(TarError);
    expect(() => scan([first, Buffer.alloc(100), second])).toThrow(TarError);
    expect(() => scan([])).toThrow(TarError);
  });
});
