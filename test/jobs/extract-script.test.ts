import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { extractScript } from '../../src/jobs/write/extract-script.ts';

let root: string;
let archive: Buffer;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'extract-script-'));
  mkdirSync(join(root, 'from/a/b'), { recursive: true });
  mkdirSync(join(root, 'to'));
  writeFileSync(join(root, 'from/a/b/file'), 'text');
  for (const [at, name] of ['from/a/b', 'from/a', 'from'].entries())
    utimesSync(join(root, name), 1e9 + at, 1e9 + at);
  archive = execFileSync('tar', [
    '-c',
    '-C',
    join(root, 'from'),
    '--no-recursion',
    '.',
    './a',
    './a/b',
    './a/b/file',
  ]);
});

afterEach(() => rmSync(root, { recursive: true, force: true }));

/** Runs the script as a helper does, with a `sync` of the test's own if there is one. */
function run(input: Buffer, traits: Parameters<typeof extractScript>[0], sync?: string) {
  const bin = join(root, 'bin');
  mkdirSync(bin);
  if (sync) {
    writeFileSync(join(bin, 'sync'), `#!/bin/sh\n${sync}\n`);
    chmodSync(join(bin, 'sync'), 0o755);
  }
  const to = join(root, 'to');
  const env = { ...process.env, PATH: `${bin}:${process.env.PATH}` };
  return spawnSync('sh', ['-c', extractScript(traits), 'sh', to, '', to], { input, env, encoding: 'latin1' });
}

const timeOf = (name: string) => statSync(join(root, 'to', name)).mtimeMs / 1000;

describe('the script that extracts', () => {
  test.each([{ ordered: true }, { ordered: false }])('gives directories their times: %o', (traits) => {
    expect(run(archive, traits).status).toBe(0);
    expect(['a/b', 'a', '.'].map(timeOf)).toEqual([1e9, 1e9 + 1, 1e9 + 2]);
  });

  test('takes an archive through gzip, and fails where that is cut off', () => {
    const packed = gzipSync(archive);
    expect(run(packed, { compressed: true }).status).toBe(0);
    expect(timeOf('a/b')).toBe(1e9);
    rmSync(join(root, 'bin'), { recursive: true });
    expect(run(packed.subarray(0, packed.length - 6), { compressed: true }).status).not.toBe(0);
  });

  test('fails with what tar says where the archive is none', () => {
    const { status, stderr } = run(Buffer.alloc(2048, 'no tar'), { ordered: true });
    expect(status).toBe(2);
    expect(stderr).toContain('This does not look like a tar archive');
  });

  test('fails where what was written cannot be brought to the disk', () => {
    const refuses = '[ "$2" = /proc ] || { echo "sync: error syncing: Input/output error" >&2; exit 1; }';
    const { status, stderr } = run(archive, {}, refuses);
    expect(status).toBe(1);
    expect(stderr).toContain('Input/output error');
  });

  test('does without a sync that can be asked for one file system', () => {
    expect(run(archive, {}, 'exit 1').status).toBe(0);
    expect(timeOf('a')).toBe(1e9 + 1);
  });
});
