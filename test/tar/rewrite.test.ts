import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { TarRewriter } from '../../src/tar/rewrite.ts';
import { TarScanner } from '../../src/tar/scanner.ts';
import { tempDir } from '../support/temp.ts';

const fixtures = path.join(import.meta.dirname, '../../fixtures/tars');

describe('an archive written anew under other names', () => {
  test.each(['0.0', '0.1', '1.0', 'old'])(
    'keeps the holes and the data of sparse members (%s)',
    async (version) => {
      const parts: Buffer[] = [];
      const rewriter = new TarRewriter(
        ({ path: name }) => ({ name: `./renamed/${name.replace(/^\.\//, '')}` }),
        (bytes) => parts.push(Buffer.from(bytes)),
      );
      const scanner = new TarScanner(rewriter);
      const original = path.join(fixtures, `gnu-tar-sparse-${version}.tar`);
      scanner.push(readFileSync(original));
      scanner.finish();
      rewriter.finish();
      const dir = await tempDir();
      const renamed = path.join(dir, 'renamed.tar');
      await writeFile(renamed, Buffer.concat(parts));
      execFileSync('tar', ['--no-same-owner', '-xf', renamed, '-C', dir]);
      for (const name of ['sparse', 'hole', 'many']) {
        const wanted = execFileSync('tar', ['-xOf', original, name]);
        expect(readFileSync(path.join(dir, 'renamed', name)).equals(wanted)).toBe(true);
      }
    },
  );
});
